#!/bin/sh
# Checks that what builds Keyfold is there: Rust of the pinned version and a C compiler. Installs the pinned
# version where rustup can. With the argument c++, also checks for a C++ compiler, which libFuzzer needs.
set -eu

cd "$(dirname "$0")/.."
wanted=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)

missing() {
    echo "Keyfold needs $1 to be built, and it is not here. $2" >&2
    exit 1
}

command -v cargo >/dev/null || missing "Rust" "Install it with rustup, open a new shell and try again."
command -v cc >/dev/null || command -v gcc >/dev/null || command -v clang >/dev/null ||
    missing "a C compiler" "On Debian and Ubuntu: apt-get install build-essential."
if [ "${1:-}" = c++ ]; then
    command -v "${CXX:-c++}" >/dev/null ||
        missing "a C++ compiler (for its fuzz targets)" "On Debian and Ubuntu: apt-get install build-essential."
fi

if command -v rustup >/dev/null && ! rustup toolchain list | grep -q "^$wanted-"; then
    echo "installing Rust $wanted with rustup"
    rustup toolchain install "$wanted" --profile minimal --component clippy --component rustfmt
fi

have=$(rustc --version | sed 's/^rustc \([0-9]*\.[0-9]*\).*/\1/')
least=${wanted%.*}
if [ "$(printf '%s\n%s\n' "$least" "$have" | sort -V | head -n 1)" != "$least" ]; then
    missing "Rust $least or newer" "Here is Rust $have. Install rustup, which takes the pinned version by itself."
fi
