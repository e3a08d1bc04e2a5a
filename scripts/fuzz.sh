#!/bin/sh
# Feeds the fuzz targets, with libFuzzer and the pinned stable Rust.
#   fuzz.sh smoke                a fixed number of inputs, the same ones in every run
#   fuzz.sh SECONDS [TARGET…]    each so long, going on from what earlier runs found
# What breaks a target is left in target/fuzz/TARGET. To try it again: target/debug/TARGET FILE.
set -eu

cd "$(dirname "$0")/.."
programs=${CARGO_TARGET_DIR:-$PWD/target}/debug
results=${CARGO_TARGET_DIR:-$PWD/target}/fuzz

main() {
    how=$1
    shift
    [ "$#" -gt 0 ] || set -- answer_framing answer_reader env_file registry_file sealed_form token_header
    for target in "$@"; do
        [ -f "fuzz/fuzz_targets/$target.rs" ] || unknown "$target"
    done

    build "$@"
    for target in "$@"; do
        mkdir -p "$results/$target"
        if [ "$how" = smoke ]; then smoke "$target"; else search "$target" "$how"; fi
    done
}

# With the features that all members of the workspace want together, as in `make test`: so its work is used again.
build() {
    for target in "$@"; do
        shift
        set -- "$@" --bin "$target"
    done
    RUSTC_WORKSPACE_WRAPPER=$PWD/scripts/rustc-with-coverage.sh cargo build --workspace --locked "$@"
}

smoke() {
    rm -rf "$results/$1/smoke"
    feed "$1" smoke -runs=50000 -seed=1
}

search() {
    feed "$1" corpus "-max_total_time=$2"
}

# feed TARGET NEW OPTION…: begins with the inputs in fuzz/corpus and in NEW, and adds new ones to NEW.
feed() {
    target=$1 new=$results/$1/$2 log=$results/$1/log
    shift 2
    mkdir -p "$new"
    if ! "$programs/$target" "$@" -timeout=30 -rss_limit_mb=1024 -print_final_stats=1 \
        -dict="fuzz/dictionaries/$target" -artifact_prefix="$results/$target/" \
        "$new" "fuzz/corpus/$target" >"$log" 2>&1; then
        tail -n 40 "$log"
        echo "fuzz: $target FAILED. Try it again with $programs/$target and the file that is named above." >&2
        exit 1
    fi
    coverage=$(sed -n 's/.*DONE *\(cov: [0-9]*\).*/\1/p' "$log")
    echo "fuzz: $target $(sed -n 's/^stat::number_of_executed_units: //p' "$log") inputs, $coverage, nothing found"
}

unknown() {
    echo "There is no fuzz target $1. There are:" >&2
    ls fuzz/fuzz_targets >&2
    exit 2
}

main "$@"
