#!/bin/sh
# Installs what the tests need besides Rust: PostgreSQL, Redis, nginx, bubblewrap, Chromium, the readers of .env files in
# other languages, and the programs that install and drive them. Installs nothing that is there; needs root (or sudo)
# only for what is missing.
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
    # The tests of deployment start the image's root directory and the replicas with these.
    command -v bwrap >/dev/null || want bubblewrap
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || want nginx-light
    # The page's tests drive it; KEYFOLD_CHROMIUM names another one.
    [ -x "${KEYFOLD_CHROMIUM:-/usr/bin/chromium}" ] || want chromium
    # shellcheck disable=SC2086 # names of packages, one by one
    [ -z "$packages" ] || scripts/install-packages.sh "The tests" $packages
    sh scripts/install-test-programs.sh
}

want() {
    packages="$packages $1"
}

main
