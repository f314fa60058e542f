#!/bin/sh
# The library on 64-bit Arm, emulated; see usage below. Not a part of CI.
set -eu
cd "$(dirname "$0")/../.."
. tests/platforms/folder.sh

usage() {
    cat <<'END'
Usage: tests/platforms/aarch64.sh [OPTION...]

Makes a folder with a Debian 13 in it, which gets Debian's packages for arm64 and its cross compiler, copies what is committed
here into it, builds there, and runs under qemu's user emulation the conformance suite on every row of the CPU device, and the
unit tests that need no other device. Writes what came of it to docs/results/aarch64.md. Nothing of arm64 is installed outside
of the folder. Needs root and debootstrap.

  --folder FOLDER   where to make it (build/platforms/aarch64)
  --reuse FOLDER    take one that this script has made
  --help            show this
END
}

folder=build/platforms/aarch64
folder_options "$@"

need_root
use_folder trixie
put_source "$folder"
log=build/platforms/aarch64.log
mkdir -p build/platforms
commit=$(git rev-parse --short=12 HEAD)

# What runs while building is of this machine's kind; what is compiled or linked against is arm64's.
packages=
for package in $(cmake/install_packages.sh --list); do
    case "$package" in
        g++ | mesa-vulkan-drivers | vulkan-validationlayers) ;;
        libcli11-dev | nlohmann-json3-dev) packages="$packages $package" ;;
        lib*-dev) packages="$packages $package:arm64" ;;
        *) packages="$packages $package" ;;
    esac
done
say "the packages"
# shellcheck disable=SC2086 # a list of words, to be split
enter "$folder" sh -euc '
    dpkg --add-architecture arm64
    apt-get update -q
    apt-get install -q -y --no-install-recommends g++-aarch64-linux-gnu libc6:arm64 libstdc++6:arm64 libgomp1:arm64 qemu-user "$@"' \
    sh $packages </dev/null >"$log" 2>&1 || { tail -n 40 "$log" >&2; say "the packages failed; all of it is in $log"; exit 1; }

say "the build"
start=$(date +%s)
enter "$folder" sh -euc '
    cmake -S . -B build/aarch64 -G Ninja -DCMAKE_BUILD_TYPE=Release -DPCONV_BACKEND_VULKAN=OFF -DPCONV_BACKEND_CUDA=OFF \
        -DPCONV_BENCH=OFF -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ \
        "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-aarch64;-L;/"
    cmake --build build/aarch64' </dev/null >>"$log" 2>&1 ||
    { tail -n 40 "$log" >&2; say "the build failed; all of it is in $log"; exit 1; }
built=$(($(date +%s) - start))

say "conformance"
start=$(date +%s)
status=0
enter "$folder" qemu-aarch64 -L / build/aarch64/bin/pconv conformance --device cpu --impl all </dev/null \
    >build/platforms/aarch64_conformance.txt 2>>"$log" || status=$?
cat build/platforms/aarch64_conformance.txt >>"$log"
conformed=$(($(date +%s) - start))

say "the unit tests"
unit='^(api|c99|devices|half|safetensors|atomic_file|cache_file|image_io|inpaint|masked_norm|bit_mask|upsample|network|recordings)$'
tests=0
enter "$folder" ctest --test-dir build/aarch64 -R "$unit" --timeout 3600 --output-on-failure </dev/null >>"$log" 2>&1 || tests=$?

{
    cat <<END
# 64-bit Arm, emulated

Commit $commit, by \`tests/platforms/aarch64.sh\`: cross-compiled on Debian 13 against Debian's arm64 packages and run under qemu's user
emulation, on $(processor). No Arm processor was at hand: what is shown is that it is right there, not how fast. What is
here was written by that script.

| package | version |
| --- | --- |
END
    for package in g++-aarch64-linux-gnu qemu-user cmake libdnnl-dev; do
        installed=$(version "$folder" "$package")
        echo "| $package | ${installed:-$(version "$folder" "$package:arm64")} |"
    done
    cat <<END

Built with warnings as errors in $built s. \`pconv conformance --device cpu --impl all\`, exit code $status, $conformed s:

\`\`\`
END
    sed -e 's/[[:space:]]*$//' build/platforms/aarch64_conformance.txt
    cat <<END
\`\`\`

Unit tests ($unit): exit code $tests, $(tests_passed "$log").
END
    tests_not_run "$log"
} >docs/results/aarch64.md

say "written: docs/results/aarch64.md; the log is $log"
[ "$status" = 0 ] && [ "$tests" = 0 ]
