#!/bin/sh
# Configures and builds one preset of CMakePresets.json, by ccache where it is there.
# Usage: cmake/build.sh PRESET [CMAKE_OPTION...]
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
if command -v ccache >/dev/null; then
    set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache "$@"
fi
cmake --preset "$preset" "$@"
cmake --build --preset "$preset"
