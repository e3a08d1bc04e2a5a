#!/bin/sh
# Stands in rustc's place (RUSTC_WORKSPACE_WRAPPER) when fuzz targets are built: counts which branches of the library
# and of the targets are taken, and shows libFuzzer what they compare. Needs no nightly Rust.
# What comes from elsewhere is built as ever, so the work of `make test` is used again.
set -eu

case " $* " in
*" --crate-name keyfold "* | *" fuzz/fuzz_targets/"*) ;;
*) exec "$@" ;;
esac

exec "$@" -Copt-level=1 \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
