#!/bin/sh
# Fills the holes of the demonstration picture; leaves before and after in out/ and says where.
# Usage: apps/demo.sh [DEVICE], such as cpu or vulkan
set -eu
cd "$(dirname "$0")/.."

cmake/install_packages.sh
cmake/build.sh release pconv_command

mkdir -p out
cp apps/demo/damaged.png out/before.png
build/release/bin/pconv inpaint out/before.png -o out/after.png ${1:+--device "$1"}
echo "before: $PWD/out/before.png"
echo "after:  $PWD/out/after.png"
