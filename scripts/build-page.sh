#!/bin/sh
# Builds the web page into frontend/dist, from where the program takes it. Does nothing if nothing of it changed.
# Without a Node that can build it, says so: the program then builds without the page.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
page=$root/frontend
stamp=$page/dist/.built

main() {
    if ! node_is_new_enough; then
        echo "build-page: without Node 20.19 or newer and npm the page is not built; the program says so at /" >&2
        return
    fi
    wanted=$(sum_of_sources)
    if [ -f "$page/dist/index.html" ] && stamped "$stamp" "$wanted"; then
        echo "page: up to date in frontend/dist"
        return
    fi
    "$root/scripts/install-node-modules.sh" page "$page"
    echo "page: building it into frontend/dist"
    # These are for a page that is served elsewhere; the program's own asks where it came from.
    (
        cd "$page"
        unset REACT_APP_API_URL REACT_APP_BACKEND_URL REACT_APP_CLERK_PUBLISHABLE_KEY
        npm run --silent build
    )
    # In the folder that every other build empties.
    echo "$wanted" >"$stamp"
}

node_is_new_enough() {
    command -v npm >/dev/null && command -v node >/dev/null &&
        node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)'
}

# Of all that goes into the page, tests of it apart.
sum_of_sources() {
    (
        cd "$root"
        find frontend clients/typescript/src clients/typescript/package.json \
            \( -name node_modules -o -path frontend/dist -o -path frontend/e2e \) -prune -o -type f -exec cksum {} + |
            LC_ALL=C sort -k 3 | cksum
    )
}

# Whether the file $1 has the checksum $2.
stamped() {
    [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]
}

main
