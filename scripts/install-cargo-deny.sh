#!/bin/sh
# Installs cargo-deny, which checks the rules of deny.toml, into target/tools/bin.
# Does nothing where it is there already. KEYFOLD_TOOLS names another directory.
set -eu

version=0.20.2

root=$(cd "$(dirname "$0")/.." && pwd)
tools=${KEYFOLD_TOOLS:-$root/target/tools}

if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" = "cargo-deny $version" ]; then
    echo "cargo-deny: $version is there"
    exit 0
fi

echo "cargo-deny: building version $version into $tools (once, some minutes)"
# It runs for a second at a time: it need not be fast, only built fast.
cd "$root" # with the toolchain that is pinned here
CARGO_TARGET_DIR=$tools/build \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
    CARGO_PROFILE_RELEASE_DEBUG=false \
    CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --root "$tools" --version "$version" cargo-deny
rm -rf "$tools/build"
