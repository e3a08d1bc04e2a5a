#!/bin/sh
# install-packages.sh WHO PACKAGE…: installs these with apt-get, and says so. WHO needs them.
set -eu

who=$1
shift
if ! command -v apt-get >/dev/null; then
    echo "$who need: $*. Install them with this system's package manager and try again." >&2
    exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
    # Nobody is there to be asked for a password unless this is a terminal.
    if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
        echo "$who need: $*. As root, run: apt-get install $*" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "installing with apt-get: $*"
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
