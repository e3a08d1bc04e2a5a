#!/bin/sh
# Installs the programs in other languages that the tests run:
#   target/test-tools/venv             python-dotenv, moto (which plays AWS KMS)
#   target/test-tools/readers          Node's dotenv, Vite
#   target/test-tools/clients/venv     the providers' Python client libraries
#   target/test-tools/clients/node     the providers' Node client libraries
#   target/test-tools/python           what the Python package is built, tested and compared with
# With the argument `python`, only the last one. Does nothing where the wanted versions are there. KEYFOLD_TEST_TOOLS
# names another directory.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
readers=$root/crates/keyfold/tests/readers
clients=$root/crates/keyfold-server/tests/clients
package=$root/crates/keyfold-python/tests
tools=${KEYFOLD_TEST_TOOLS:-$root/target/test-tools}

main() {
    need python3 "Python 3.11 or newer with its venv module"
    install_python "$package" "$tools/python" 'import fastapi, jwt, maturin, mypy, psycopg, pytest, sqlalchemy, uvicorn'
    [ "${1:-}" != python ] || return 0
    need node "Node 20.19 or newer"
    need npm "it comes with Node"
    install_python "$readers" "$tools/venv" 'import dotenv, flask_cors, moto'
    install_node "$readers" "$tools/readers"
    install_python "$clients" "$tools/clients/venv" 'import anthropic, cohere, exa_py, google.genai, groq, openai, tavily'
    install_node "$clients" "$tools/clients/node"
}

need() {
    command -v "$1" >/dev/null || {
        echo "install-test-programs: $1 is missing ($2); install it and try again" >&2
        exit 1
    }
}

# What $1/requirements.txt names, in the virtual environment $2, where the statement $3 must work.
install_python() {
    version=$(cksum <"$1/requirements.txt")
    if stamped "$2" "$version" && "$2/bin/python" -c "$3" 2>/dev/null; then
        echo "test programs: up to date in $2"
        return
    fi
    echo "test programs: installing Python's into $2"
    python3 -m venv --clear "$2"
    "$2/bin/python" -m pip install --quiet --disable-pip-version-check -r "$1/requirements.txt"
    echo "$version" >"$2/.installed"
}

# What $1/package.json names, in the directory $2.
install_node() {
    version=$(cat "$1/package.json" "$1/package-lock.json" | cksum)
    if stamped "$2" "$version"; then
        echo "test programs: up to date in $2"
        return
    fi
    echo "test programs: installing Node's into $2"
    mkdir -p "$2"
    rm -f "$2/.installed"
    cp "$1/package.json" "$1/package-lock.json" "$2/"
    # They need no install scripts.
    (cd "$2" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
    echo "$version" >"$2/.installed"
}

# Whether the directory $1 was filled from what has the checksum $2.
stamped() {
    [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]
}

main "$@"
