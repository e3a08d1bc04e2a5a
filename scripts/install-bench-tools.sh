#!/bin/sh
# Installs what `make bench-gateway` needs besides Rust: PostgreSQL, and nginx to compare with. Installs nothing that is
# there; needs root (or sudo) only for what is missing.
set -eu

cd "$(dirname "$0")/.."

main() {
    packages=
    # Debian keeps the programs of both off an ordinary user's path.
    ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || packages="$packages postgresql"
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || packages="$packages nginx"
    [ -n "$packages" ] || return 0
    # shellcheck disable=SC2086 # names of packages, one by one
    scripts/install-packages.sh "The benchmarks" $packages
    case $packages in
        *nginx*) echo "The system may have started nginx as a service; the benchmarks start their own and do not need it." ;;
    esac
}

main
