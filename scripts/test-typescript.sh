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
    "$root/scripts/install-node-modules.sh" "TypeScript client" "$package"
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

main "$@"
