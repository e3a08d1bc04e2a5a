#!/bin/sh
# Makes the documentation's site in target/site. A dead link fails it. KEYFOLD_TOOLS names another directory for the
# generator.
set -eu

cd "$(dirname "$0")/.."
work=${KEYFOLD_TOOLS:-$PWD/target/tools}/docs-site

version=$(cat docs/site/package.json docs/site/package-lock.json | cksum)
if [ "$(cat "$work/.installed" 2>/dev/null || true)" != "$version" ]; then
    echo "docs-site: installing VitePress into $work"
    mkdir -p "$work"
    cp docs/site/package.json docs/site/package-lock.json "$work/"
    (cd "$work" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
    echo "$version" >"$work/.installed"
fi

node docs/site/build.mjs "$work" target/site
