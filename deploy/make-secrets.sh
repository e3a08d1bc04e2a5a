#!/bin/sh
# Makes what deploy/compose.yaml needs: a master key, the database's password and its address. What is there stays.
# `make-secrets.sh [DIRECTORY]`; usually deploy/secrets.
set -eu

directory=${1:-$(dirname "$0")/secrets}

# The files are read by the containers' users, who are nobody on this machine. The directory keeps all others out.
mkdir -p "$directory"
chmod 700 "$directory"
umask 0222

[ -e "$directory/master_key" ] || openssl rand -hex 32 >"$directory/master_key"
[ -e "$directory/postgres_password" ] || openssl rand -hex 32 >"$directory/postgres_password"
[ -e "$directory/database_url" ] || printf 'postgres://keyfold:%s@postgres:5432/keyfold?sslmode=disable\n' \
    "$(cat "$directory/postgres_password")" >"$directory/database_url"

echo "The secrets are in $directory. Keep a copy of master_key elsewhere, apart from the database's backups."
