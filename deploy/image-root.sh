#!/bin/sh
# Lays out the image's root directory: the program, the libraries that it loads, the certificates of public
# authorities, and one user; and apart from it, because it is that user's, the state directory.
# `image-root.sh PROGRAM DIRECTORY STATE`; the directories are new or empty.
set -eu

program=$1
root=$2
state=$3

mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/var/lib" "$state/keyfold"
cp "$program" "$root/usr/local/bin/keyfold"
chmod 755 "$root/usr/local/bin/keyfold"
chmod 700 "$state/keyfold"

# One that is not found has no path there, and ends this.
libraries=$(ldd "$program")
case $libraries in *"not found"*) echo "$libraries" >&2; exit 1 ;; esac
for library in $(echo "$libraries" | grep -o '/[^ ]*'); do
    mkdir -p "$root${library%/*}"
    cp -L "$library" "$root$library"
done

cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
echo "keyfold:x:10001:10001:Keyfold:/var/lib/keyfold:/nonexistent" >"$root/etc/passwd"
echo "keyfold:x:10001:" >"$root/etc/group"
