#!/bin/sh
# Configures and builds one preset of CMakePresets.json, by ccache where it is there.
# Usage: cmake/build.sh PRESET [TARGET]
set -eu
cd "$(dirname "$0")/.."
launcher=
if command -v ccache >/dev/null; then
    launcher=ccache
fi
cmake --preset "$1" -DCMAKE_C_COMPILER_LAUNCHER=$launcher -DCMAKE_CXX_COMPILER_LAUNCHER=$launcher
cmake --build --preset "$1" --target "${2:-all}"
