#!/bin/sh
# Runs a command on SwiftShader, another driver than Mesa's: subgroups of 4, no 16-bit storage. Its library comes with Debian's
# chromium-common, which is unpacked into FOLDER and not installed.
# Usage: swiftshader.sh FOLDER COMMAND...
# Ends with 77, and says why, where the package cannot be had.
set -eu

folder=$1
shift
icd=$folder/usr/lib/chromium/vk_swiftshader_icd.json

unpack() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "this is not a Debian system"; return 1; }
    (cd "$folder" && apt-get download -q chromium-common) >"$folder/log" 2>&1 || { tail -n 1 "$folder/log"; return 1; }
    dpkg -x "$folder"/chromium-common_*.deb "$folder" || return 1
    rm "$folder"/chromium-common_*.deb
}

mkdir -p "$folder"
# Tests that run side by side unpack it once.
exec 9>"$folder/lock"
flock 9
if ! [ -f "$icd" ] && ! reason=$(unpack); then
    echo "skipped: SwiftShader is not here, and chromium-common cannot be had: $reason"
    exit 77
fi
exec 9>&-
VK_ICD_FILENAMES=$icd VK_DRIVER_FILES=$icd exec "$@"
