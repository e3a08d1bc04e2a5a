#!/bin/sh
# Tests the Python package, made of the compiled library $1 (if empty: target/debug/deps/libkeyfold_python.so, as
# `cargo test` leaves it) and of what stands in crates/keyfold-python/python. Further arguments are pytest's.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
library=${1:-$root/target/debug/deps/libkeyfold_python.so}
[ $# -eq 0 ] || shift
tools=${KEYFOLD_TEST_TOOLS:-$root/target/test-tools}
python=$tools/python/bin/python
package=$tools/python-package

main() {
    [ -x "$python" ] || missing "$python"
    [ -f "$library" ] || missing "$library"
    # The programs `keyfold` and `keyfold-standin` stand beside it, or above.
    programs=$(cd "$(dirname "$library")" && pwd)
    export KEYFOLD_TEST_PROGRAMS="${programs%/deps}"

    step "putting the package together in $package"
    rm -rf "$package"
    mkdir -p "$package"
    cp -r crates/keyfold-python/python/keyfold "$package/keyfold"
    find "$package" -name __pycache__ -prune -exec rm -rf {} +
    cp "$library" "$package/keyfold/_keyfold.abi3.so"
    echo "$package" >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/keyfold-under-test.pth"

    cd crates/keyfold-python
    step "types: the package, the example and the tests, strictly"
    MYPYPATH=tests "$python" -m mypy --cache-dir "$tools/python-mypy" \
        python/keyfold examples/fastapi_app tests/*.py benches/*.py
    step "types: the stubs are those of the module"
    "$python" -m mypy.stubtest --mypy-config-file pyproject.toml keyfold
    step "pytest"
    exec "$python" -m pytest -q -p no:cacheprovider --durations 5 "$@"
}

step() {
    echo "test-python: $1"
}

missing() {
    echo "test-python: $1 is missing: run \`make test\`, which makes it" >&2
    exit 1
}

main "$@"
