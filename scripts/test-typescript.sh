#!/bin/sh
# Checks, builds and tests the TypeScript client (clients/typescript) against the programs that Cargo built into
# target/debug. With `generate`, brings its types up to date with its openapi.json instead.
# Installs what that needs into clients/typescript/node_modules, unless it is there.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
package=$root/clients/typescript

main() {
    command -v npm >/dev/null || {
        echo "test-typescript: npm is missing (it comes with Node 20.19 or newer); install it and try again" >&2
        exit 1
    }
    install
    cd "$package"
    case ${1-} in
        generate) npm run --silent generate ;;
        '') npm test --silent ;;
        *)
            echo "test-typescript: either nothing or \`generate\`, not \`$1\`" >&2
            exit 2
            ;;
    esac
}

install() {
    stamp=$package/node_modules/.installed
    version=$(cat "$package/package.json" "$package/package-lock.json" | cksum)
    if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ]; then
        echo "TypeScript client: what its tests need is up to date"
        return
    fi
    echo "TypeScript client: installing what its tests need"
    (cd "$package" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
    echo "$version" >"$stamp"
}

main "$@"
