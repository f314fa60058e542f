#!/bin/sh
# Installs the Debian packages that are missing here, and says which; asks for root only then.
# Usage: cmake/install_packages.sh [EXTRA_PACKAGE...]
#        cmake/install_packages.sh --list    which they are, without installing any
# shellcheck disable=SC2086 # lists of words, to be split
set -eu

# ocl-icd-opencl-dev is not among them: nothing of OpenCL is used, though Debian's oneDNN recommends it.
packages="cmake ninja-build g++ pkg-config libdnnl-dev libvulkan-dev glslang-tools spirv-tools mesa-vulkan-drivers
    vulkan-validationlayers libgtest-dev libbenchmark-dev libcli11-dev nlohmann-json3-dev libpng-dev libjpeg-dev libtiff-dev libwebp-dev $*"

if [ "${1:-}" = --list ]; then
    packages=${packages% --list}
    echo $packages
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "packages: this is not a Debian system, so nothing is installed; needed are the equivalents of:" $packages
    exit 0
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    case "$state" in
        "install ok installed"*) ;;
        *) missing="$missing $package" ;;
    esac
done
if [ -z "$missing" ]; then
    echo "packages: all there"
    exit 0
fi

root=
if [ "$(id -u)" != 0 ]; then
    root=sudo
    if ! command -v sudo >/dev/null; then
        echo "packages: missing are$missing; expected root or sudo to install them" >&2
        exit 1
    fi
fi
echo "packages: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -q </dev/null >&2
$root apt-get install -q -y --no-install-recommends $missing </dev/null >&2
