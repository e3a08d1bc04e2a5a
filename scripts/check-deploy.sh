#!/bin/sh
# Checks the files with which Keyfold is deployed, as far as that goes without the platforms: their form by schemas and
# linters, and where they send addresses. What they start is started by `cargo test -p keyfold-server --test deploy`.
set -eu

cd "$(dirname "$0")/.."
root=$PWD
checks=$root/deploy/checks
tools=${KEYFOLD_TOOLS:-$root/target/tools}/deploy

main() {
    install_tools
    "$tools/venv/bin/hadolint" Dockerfile
    echo "ok -- Dockerfile is well made"
    schema compose-spec deploy/compose.yaml
    form render.json render.yaml
    form railway.json railway.json
    form heroku-yml.json heroku.yml
    form heroku-app.json app.json
    (cd "$tools/node" && node "$checks/vercel.mjs" "$root/frontend/vercel.json")
    unit
}

install_tools() {
    version=$(cat "$checks/requirements.txt" "$checks/package.json" "$checks/package-lock.json" | cksum)
    [ "$(cat "$tools/.installed" 2>/dev/null || true)" != "$version" ] || return 0
    echo "installing the checkers of deployment files into $tools"
    mkdir -p "$tools/node"
    python3 -m venv --clear "$tools/venv"
    "$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$checks/requirements.txt"
    cp "$checks/package.json" "$checks/package-lock.json" "$tools/node/"
    (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error)
    echo "$version" >"$tools/.installed"
}

# One that comes with the checker.
schema() {
    "$tools/venv/bin/check-jsonschema" --builtin-schema "vendor.$1" "$2"
}

# One of ours.
form() {
    "$tools/venv/bin/check-jsonschema" --schemafile "$checks/schemas/$1" "$2"
}

unit() {
    command -v systemd-analyze >/dev/null || scripts/install-packages.sh "The checks" systemd
    copy=$(mktemp -d)
    # It looks whether the program is there.
    sed "s|^ExecStart=/usr/local/bin/keyfold|ExecStart=/bin/true|" deploy/keyfold.service >"$copy/keyfold.service"
    # An unknown name is told, and no failure to it.
    said=$(systemd-analyze verify "$copy/keyfold.service" 2>&1) || true
    exposed=$(systemd-analyze security --offline=true --threshold=15 "$copy/keyfold.service" 2>&1) || said="$said$exposed"
    rm -r "$copy"
    if [ -n "$said" ]; then
        echo "deploy/keyfold.service: $said" >&2
        return 1
    fi
    echo "ok -- deploy/keyfold.service is understood, and shuts out what it can"
}

main
