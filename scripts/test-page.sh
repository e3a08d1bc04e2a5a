#!/bin/sh
# Checks and tests the web page: its types and form, its components, then the built page in Chromium, served by the
# programs that Cargo built into target/debug. With arguments, only the browser tests that these name.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
page=$root/frontend

main() {
    command -v npm >/dev/null || {
        echo "test-page: npm is missing (it comes with Node 20.19 or newer); install it and try again" >&2
        exit 1
    }
    "$root/scripts/install-node-modules.sh" page "$page"
    cd "$page"
    if [ $# -eq 0 ]; then
        echo "page: types and form"
        npm run --silent check
        echo "page: components"
        npm run --silent test
    fi
    echo "page: in a browser"
    npm run --silent test:browser -- "$@"
}

main "$@"
