#!/bin/sh
# Installs the .env readers of other languages that the dotenv tests compare against, and what plays AWS KMS:
#   target/test-tools/venv      python-dotenv, moto
#   target/test-tools/readers   Node's dotenv, Vite
# Does nothing where the wanted versions are there. KEYFOLD_TEST_TOOLS names another directory.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$root/crates/keyfold/tests/readers
tools=${KEYFOLD_TEST_TOOLS:-$root/target/test-tools}
venv=$tools/venv
readers=$tools/readers

main() {
    need python3 "Python 3.10 or newer with its venv module"
    need node "Node 20.19 or newer"
    need npm "it comes with Node"
    mkdir -p "$venv" "$readers"

    python_wanted=$(cksum <"$wanted/requirements.txt")
    if stamped "$venv" "$python_wanted" && "$venv/bin/python" -c 'import dotenv, flask_cors, moto' 2>/dev/null; then
        echo "test readers: Python's are up to date"
    else
        echo "test readers: installing Python's into $venv"
        python3 -m venv --clear "$venv"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
            -r "$wanted/requirements.txt"
        echo "$python_wanted" >"$venv/.installed"
    fi

    node_wanted=$(cat "$wanted/package.json" "$wanted/package-lock.json" | cksum)
    if stamped "$readers" "$node_wanted"; then
        echo "test readers: Node's are up to date"
    else
        echo "test readers: installing Node's into $readers"
        rm -f "$readers/.installed"
        cp "$wanted/package.json" "$wanted/package-lock.json" "$readers/"
        # They need no install scripts.
        (cd "$readers" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
        echo "$node_wanted" >"$readers/.installed"
    fi
}

need() {
    command -v "$1" >/dev/null || {
        echo "install-test-readers: $1 is missing ($2); install it and try again" >&2
        exit 1
    }
}

# Whether the directory $1 was filled from what has the checksum $2.
stamped() {
    [ -f "$1/.installed" ] && [ "$(cat "$1/.installed")" = "$2" ]
}

main
