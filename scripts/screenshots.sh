#!/bin/sh
# Takes pictures of every view of the page, in both modes, light and dark, wide and narrow, into target/screenshots.
# With README=1, those of the README into docs/images instead.
set -eu

cd "$(dirname "$0")/.."
if [ "${README-}" = 1 ]; then
    folder=docs/images
    set -- -g README
else
    folder=target/screenshots
    rm -rf target/screenshots
    set -- -g 'every view'
fi
cd frontend
npx --no-install playwright test -c e2e/screenshots.config.ts "$@"
echo "pictures are in $folder"
