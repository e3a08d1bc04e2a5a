#!/bin/sh
# Checks the rules of deny.toml: which crates, which licences, from where; and known vulnerabilities, where
# their database can be reached.
set -eu

cd "$(dirname "$0")/.."
tools=${KEYFOLD_TOOLS:-$PWD/target/tools}
PATH=$tools/bin:$PATH

scripts/install-cargo-deny.sh

cargo deny --locked check --hide-inclusion-graph bans licenses sources

if why=$(timeout 120 cargo deny --locked fetch db 2>&1 </dev/null); then
    cargo deny --locked check --hide-inclusion-graph advisories
else
    echo "advisories: SKIPPED. Their database cannot be reached from here, so known vulnerabilities were not looked for:"
    echo "$why" | grep -m 1 -E '^fatal|rror' | cut -c 1-300 | sed 's/^/    /'
fi

# A lock file that names addresses would be bound to one network.
foreign=$(git ls-files -z '*package-lock.json' | xargs -0 grep -n '"resolved"' || true)
if [ -n "$foreign" ]; then
    echo "$foreign" | head -3
    echo "package-lock.json names download addresses; write it with npm's --omit-lockfile-registry-resolved"
    exit 1
fi
