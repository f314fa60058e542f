#!/bin/sh
# Gathers what tests/gpu/run.sh needs of a build, to be carried to a machine with a GPU; see usage below.
set -eu

usage() {
    cat <<'END'
Usage: tests/gpu/pack.sh BUILD FILE.tar.xz

Packs the programs and libraries that tests/gpu/run.sh runs from BUILD, stripped, with what they need of this system's own libraries
beyond the C library and cuDNN, and the commit. Prints the file's size.

Example:
  tests/gpu/pack.sh build/release build/gpu.tar.xz && tests/gpu/run.sh --build build/gpu.tar.xz out
END
}
if [ $# -ne 2 ]; then
    usage >&2
    exit 2
fi
build=$1 file=$2
[ -x "$build/bin/pconv" ] || { echo "tests/gpu/pack.sh: there is no program $build/bin/pconv" >&2; exit 2; }

root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
git -C "$root" describe --always --dirty --abbrev=12 >"$folder/commit" 2>/dev/null || echo unknown >"$folder/commit"
mkdir -p "$folder/bin" "$folder/lib"
for name in pconv pconv_adopt pconv_api pconv_bit_mask pconv_cuda_device pconv_cuda_graphs pconv_cuda_rows pconv_fuzz pconv_masked_norm \
    pconv_network pconv_upsample pconv_conformance.cases pconv_conformance.exact pconv_conformance.safety pconv_conformance.settings \
    pconv_conformance.sizes pconv_conformance.training; do
    # Some lie beside the modules, where they look for them.
    for from in "$build/bin/$name" "$build/lib/$name"; do
        [ ! -f "$from" ] || strip -o "$folder/bin/$name" "$from"
    done
    [ -f "$folder/bin/$name" ] || { echo "tests/gpu/pack.sh: $name is not built" >&2; exit 1; }
done
for from in "$build"/lib/libpconv*.so*; do
    [ -h "$from" ] || strip --strip-unneeded -o "$folder/lib/$(basename "$from")" "$from"
done
for link in "$build"/lib/libpconv*.so.?; do
    [ ! -h "$link" ] || mv "$folder/lib/$(basename "$(readlink -f "$link")")" "$folder/lib/$(basename "$link")"
done
# The loader's and the C library's own stay behind, as does cuDNN, which is the GPU machine's.
for object in "$folder"/bin/* "$folder"/lib/*; do ldd "$object" 2>/dev/null || true; done |
    awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
    grep -vE '/(libc|libm|libdl|libpthread|librt|ld-linux[^/]*|libcudnn[^/]*|libcuda)[.]so|/libpconv' |
    while read -r library; do cp -L "$library" "$folder/lib/"; done
tar -C "$folder" -cJf "$file" .
du -sh "$file" | cut -f 1
