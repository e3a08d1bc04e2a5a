# Reads CASES/.env.* with the shell; leaves NAME=value pairs, each ended by a NUL, in CASES/sh.env.*
# Such a file stays empty where the shell gave up.
env=$(command -v env)
cd "$1" || exit
for file in .env.*; do
    (
        exec >"sh$file" 2>/dev/null
        set -a
        . "./$file"
        exec "$env" -0
    )
done
exit 0
