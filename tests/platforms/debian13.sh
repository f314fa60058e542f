#!/bin/sh
# Everything on a Debian 13 of its own; see usage below. Not a part of CI.
set -eu
cd "$(dirname "$0")/../.."
. tests/platforms/folder.sh

usage() {
    cat <<'END'
Usage: tests/platforms/debian13.sh [OPTION...] [-- CTEST_OPTION...]

Makes a folder with a Debian 13 in it, copies what is committed here into it, runs the README's two commands there (the demo,
and tests/run.sh, which install what they need), and writes what came of it to docs/results/debian13.md. CUDA is left out:
Debian 13 has no toolkit of its own. Needs root and debootstrap. From nothing it takes about an hour on two cores.

  --folder FOLDER   where to make it (build/platforms/debian13)
  --reuse FOLDER    take one that is there already, made by this script or by debootstrap
  --daily           leave out the long tests
  --help            show this
END
}

folder=build/platforms/debian13
reuse=
all=--all
while [ $# -gt 0 ]; do
    case "$1" in
        --daily)
            all=
            shift
            ;;
        --)
            shift
            break
            ;;
        *)
            folder_option "$@"
            shift "$taken"
            ;;
    esac
done

need_root
use_folder trixie
if [ "$(cut -d. -f1 "$folder/etc/debian_version")" != 13 ]; then
    say "'$folder' is Debian $(cat "$folder/etc/debian_version"); expected 13"
    exit 2
fi

put_source "$folder"
log=build/platforms/debian13.log
mkdir -p build/platforms
commit=$(git rev-parse --short=12 HEAD)

# Times of a build say less where a ccache was there before.
cached=
for cache in "$folder"/*/.cache/ccache; do
    [ ! -d "$cache" ] || cached=", with a filled ccache"
done
say "the demo"
start=$(date +%s)
demo=0
# With the editors, so that the tests of their plug-ins run: GIMP 3 is only here.
enter "$folder" sh -c 'apps/demo.sh && cmake/install_packages.sh libgegl-dev gegl libgimp-3.0-dev gimp frei0r-plugins-dev ffmpeg' \
    </dev/null >"$log" 2>&1 || demo=$?
built=$(($(date +%s) - start))
[ "$demo" = 0 ] || { tail -n 40 "$log" >&2; say "the demo failed; all of it is in $log"; exit 1; }

say "the tests"
start=$(date +%s)
status=0
# shellcheck disable=SC2086 # an option or none
enter "$folder" env PCONV_REQUIRE_DEVICES=cpu,vulkan tests/run.sh $all "$@" </dev/null >>"$log" 2>&1 || status=$?
tested=$(($(date +%s) - start))

{
    cat <<END
# Debian 13

Commit $commit, by \`tests/platforms/debian13.sh\`, in a folder made by debootstrap; $(processor), $(nproc) processors. What is here was
written by that script.

| package | version |
| --- | --- |
END
    for package in g++ cmake libdnnl-dev libvulkan-dev glslang-tools mesa-vulkan-drivers libgtest-dev python3-torch; do
        installed=$(version "$folder" "$package")
        echo "| $package | ${installed:-not installed} |"
    done
    cat <<END

- \`apps/demo.sh\`: packages, library, command and the demo's picture in $built s$cached.
- \`tests/run.sh${all:+ $all}${1:+ -- $*}\`: the rest of the build and the tests in $tested s, exit code $status: $(tests_passed "$log").
- Without CUDA: Debian 13 has no toolkit; its kernels are compiled for the CPU and tested there.

END
    if [ -n "$(tests_not_run "$log")" ]; then
        echo "Skipped or failed:"
        echo
        tests_not_run "$log"
    else
        echo "Nothing was skipped, nothing failed."
    fi
} >docs/results/debian13.md

say "written: docs/results/debian13.md; the log is $log"
exit "$status"
