#!/bin/sh
# Installs what the tests need besides Rust: PostgreSQL, Redis, the programs in other languages that they run, and what
# installs and drives them. Installs nothing that is there; needs root (or sudo) only for what is missing.
set -eu

cd "$(dirname "$0")/.."

main() {
    packages=
    command -v python3 >/dev/null || want python3
    # Debian's python3 comes without what makes virtual environments.
    if command -v python3 >/dev/null && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then want python3-venv; fi
    command -v npm >/dev/null || want npm
    command -v curl >/dev/null || want curl
    command -v git >/dev/null || want git
    # Debian keeps the server's programs off the path.
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || want postgresql
    command -v redis-server >/dev/null || command -v valkey-server >/dev/null || want redis-server
    [ -z "$packages" ] || install_packages
    sh scripts/install-test-programs.sh
}

want() {
    packages="$packages $1"
}

install_packages() {
    if ! command -v apt-get >/dev/null; then
        echo "The tests need:$packages. Install them with this system's package manager and try again." >&2
        exit 1
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        # Nobody is there to be asked for a password unless this is a terminal.
        if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            echo "The tests need:$packages. As root, run: apt-get install$packages" >&2
            exit 1
        fi
        as_root=sudo
    fi
    echo "installing with apt-get:$packages"
    $as_root apt-get update -qq
    # shellcheck disable=SC2086 # names of packages, one by one
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages </dev/null
}

main
