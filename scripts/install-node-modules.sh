#!/bin/sh
# install-node-modules.sh WHO FOLDER: installs the packages of the folder's lock file into its node_modules, unless they
# are there. WHO needs them.
set -eu

who=$1
folder=$2
stamp=$folder/node_modules/.installed
version=$(cat "$folder/package.json" "$folder/package-lock.json" | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$version" ]; then
    exit
fi
echo "$who: installing what is in its package-lock.json"
# They need no install scripts.
(cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
echo "$version" >"$stamp"
