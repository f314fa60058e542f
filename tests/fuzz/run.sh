#!/bin/sh
# Builds tests/fuzz/fuzz_files.cpp with clang and runs one kind of file; see usage below.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
    cat <<'END'
Usage: tests/fuzz/run.sh FOLDER KIND [LIBFUZZER_OPTION...]

Builds the fuzzer of file readers into FOLDER (with clang's libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer),
makes a corpus from tests/pictures and small pictures of every form, and runs KIND: png, jpeg, tiff, webp, mask or
safetensors; or build, to stop there. A fault leaves the input that caused it in FOLDER.

Examples:
  tests/fuzz/run.sh /tmp/fuzz png -max_total_time=30
  tests/fuzz/run.sh /tmp/fuzz safetensors -runs=2000000

Exit status 77 where there is no clang++ with libFuzzer, libtiff or libwebp.
END
}

[ $# -ge 2 ] || { usage >&2; exit 2; }
folder=$1
kind=$2
shift 2
case "$kind" in
    png | jpeg | tiff | webp | mask | safetensors | build) ;;
    *) echo "tests/fuzz/run.sh: unknown kind '$kind'; expected png, jpeg, tiff, webp, mask, safetensors or build" >&2; exit 2 ;;
esac
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

probe=$folder/probe.cpp
printf '#include <tiffio.h>\n#include <webp/mux.h>\nextern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }\n' >"$probe"
if ! clang++ -fsanitize=fuzzer,address "$probe" -o "$folder/probe" >/dev/null 2>&1; then
    echo "skipped: there is no clang++ with libFuzzer here, or no libtiff or libwebp"
    exit 77
fi

sources="apps/pconv/hole.cpp src/files/atomic_file.cpp src/files/file_error.cpp src/files/input_file.cpp src/files/safetensors.cpp
    src/platform/existing_file.cpp src/platform/new_file.cpp"
sources="$sources $(cd "$source" && ls apps/pconv/image/*.cpp)"
flags="-std=c++17 -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
    -DPCONV_WITH_TIFF -DPCONV_WITH_WEBP -I$source/apps/pconv -I$source/src -I$source/include -I$source/tests"
libraries="-lpng -ljpeg -ltiff -lwebpmux -lwebp -lz"

objects=
for file in $sources; do
    object=$folder/$(echo "$file" | tr / _).o
    objects="$objects $object"
    # shellcheck disable=SC2086 # lists of words
    if [ ! -e "$object" ] || [ -n "$(find "$source/apps/pconv" "$source/src/files" "$source/src/platform" -newer "$object" -name '*.[ch]*' | head -1)" ]; then
        clang++ $flags -fsanitize=fuzzer-no-link -c "$source/$file" -o "$object"
    fi
done
# shellcheck disable=SC2086
{
    clang++ $flags -fsanitize=fuzzer "$source/tests/fuzz/fuzz_files.cpp" $objects $libraries -o "$folder/fuzz_files"
    clang++ $flags "$source/tests/fuzz/make_corpus.cpp" $objects $libraries -o "$folder/make_corpus"
}
[ "$kind" != build ] || exit 0

rm -rf "$folder/seeds/$kind"
"$folder/make_corpus" "$folder/seeds"
pictures=$source/tests/pictures
case "$kind" in
    png) cp "$pictures"/*.png "$folder/seeds/png" ;;
    jpeg) cp "$pictures"/*.jpg "$folder/seeds/jpeg" ;;
    mask) cp "$pictures"/mask*.png "$pictures"/rgb.jpg "$folder/seeds/mask" ;;
esac
mkdir -p "$folder/corpus/$kind"
cd "$folder"
ASAN_OPTIONS=allocator_may_return_null=1 exec "$folder/fuzz_files" "--kind=$kind" -max_len=4096 -timeout=20 \
    -rss_limit_mb=2048 "-artifact_prefix=$folder/$kind-" "$@" "$folder/corpus/$kind" "$folder/seeds/$kind"
