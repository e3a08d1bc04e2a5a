#!/bin/sh
# Makes each target that it is given, one after the other, and tells how long each took.
set -eu

cd "$(dirname "$0")/.."
summary=
begun=$(date +%s)

for stage in "$@"; do
    echo "==> $stage"
    stage_begun=$(date +%s)
    if ! "${MAKE:-make}" --no-print-directory "$stage"; then
        printf '%s' "$summary"
        echo "==> $stage FAILED after $(($(date +%s) - stage_begun)) s" >&2
        exit 1
    fi
    line="    $(($(date +%s) - stage_begun)) s  $stage"
    summary="$summary$line
"
done

echo "==> done in $(($(date +%s) - begun)) s"
printf '%s' "$summary"
