#!/bin/sh
# vulkan:coopmat on a driver that runs it on the CPU; see usage below. Not a part of CI.
set -eu
cd "$(dirname "$0")/../.."
. tests/platforms/folder.sh

usage() {
    cat <<'END'
Usage: tests/platforms/cooperative_matrices.sh --reuse FOLDER BUILD

Runs vulkan:coopmat of BUILD, the build folder of a Debian 13 (whose glslang knows cooperative matrices), on Mesa's lavapipe in
FOLDER, which has a Debian with Mesa 26.2 or later: conformance, random configurations forward and backward, as a software device
and as a GPU, some of them under the validation layer. Writes what came of it to docs/results/vulkan_coopmat.md. Needs root.

FOLDER is made by `debootstrap sid FOLDER`, and has the packages mesa-vulkan-drivers, vulkan-validationlayers, libpng16-16t64,
libjpeg62-turbo, libtiff6, libwebpmux3, libwebpdemux2. BUILD needs the targets pconv_command, pconv_fuzz, pconv_vulkan_shim.
END
}

folder=
build=
while [ $# -gt 0 ]; do
    case "$1" in
        -*)
            folder_option "$@"
            shift "$taken"
            ;;
        *)
            build=$1
            shift
            ;;
    esac
done
need_root
use_folder
if [ ! -x "$build/bin/pconv_fuzz" ]; then
    say "no bin/pconv_fuzz in '$build'; expected a build folder with it"
    exit 2
fi
build=$(realpath "$build")
log=build/platforms/cooperative_matrices.log
mkdir -p build/platforms "$folder/mnt"
: >"$log"

# on VARIABLE=VALUE... COMMAND...: a program of the build, in the folder, on lavapipe.
on() {
    # shellcheck disable=SC2016 # for the inner shell
    unshare --mount --pid --fork sh -c '
        set -eu
        folder=$1 build=$2
        shift 2
        mount -t proc proc "$folder/proc"
        mount --rbind /dev "$folder/dev"
        mount -t tmpfs tmpfs "$folder/tmp"
        mount --bind "$build" "$folder/mnt"
        mount --bind . "$folder/srv"
        exec chroot "$folder" /usr/bin/env -i HOME=/tmp PCONV_CACHE_DIR=/tmp LANG=C.UTF-8 LD_LIBRARY_PATH=/mnt/lib \
            VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json "$@"' sh "$folder" "$build" "$@"
}

bad=0
# try TITLE VARIABLE=VALUE... COMMAND...: one step, and a line of the report.
try() {
    title=$1
    shift
    status=0
    on "$@" >"$log.step" 2>&1 || status=$?
    [ "$status" = 0 ] || bad=1
    { echo "== $title: $status"; cat "$log.step"; } >>"$log"
    echo "- $title: exit code $status; $(tail -n 1 "$log.step")"
}

gpu="PCONV_VULKAN_LOADER=/mnt/lib/libpconv_vulkan_shim.so PCONV_SHIM_GPU=1"
fuzz="/mnt/bin/pconv_fuzz --row vulkan:coopmat --type f16 --work 200000"
{
    cat <<END
# Cooperative matrices

Commit $(git rev-parse --short=12 HEAD), by \`tests/platforms/cooperative_matrices.sh\`: built on Debian 13, whose glslang knows them, run on
Mesa $(version "$folder" mesa-vulkan-drivers)'s lavapipe, on $(processor). What is here was written by that script. No GPU ran it.

END
    # shellcheck disable=SC2086 # settings and options
    {
        try "conformance, profile half" /mnt/bin/pconv conformance --device vulkan --impl vulkan:coopmat --profile half --cases /srv/tests/conformance/cases
        sed 's/^/      /' "$log.step"
        try "random configurations" $fuzz --count 30 --seed 100
        try "on a pretended GPU" $gpu $fuzz --count 30 --seed 500
        try "on a pretended GPU, all dispatches cut" $gpu PCONV_SHIM_RANGE=262144 PCONV_VULKAN_MAX_WORK=100000 $fuzz --count 15 --seed 1000
        try "backward" $fuzz --backward --count 15 --seed 900
        try "under the validation layer" PCONV_VULKAN_VALIDATION=1 $fuzz --count 6 --seed 60
    }
} >docs/results/vulkan_coopmat.md
say "written: docs/results/vulkan_coopmat.md; the log is $log"
exit "$bad"
