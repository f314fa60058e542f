#!/bin/sh
# Sets up, builds and tests; see usage below. Ends with the summary of ctest.
set -eu
cd "$(dirname "$0")/.."

usage() {
    cat <<'END'
Usage: tests/run.sh [--all] [--asan] [-- CTEST_OPTION...]

Installs what is missing from Debian's packages (as root or by sudo), builds into build/release, and runs the tests but
those labelled "long": meant to take, with the build, 15 minutes on two cores.

  --all    run the long tests too, as CI does: meant to take 45 minutes
  --asan   build into build/asan and test with the address and undefined-behaviour sanitizers
  --help   show this

Examples:
  tests/run.sh                      the tests of every day
  tests/run.sh --all                every test
  tests/run.sh --all -- -R install  the tests whose name has "install" in it
  tests/run.sh -- --rerun-failed    those that failed last time

Devices that are absent are skipped, unless PCONV_REQUIRE_DEVICES names them: PCONV_REQUIRE_DEVICES=cpu,vulkan.
END
}

preset=release
all=
while [ $# -gt 0 ]; do
    case "$1" in
        --all) all=yes ;;
        --asan) preset=asan ;;
        --help | -h)
            usage
            exit 0
            ;;
        --)
            shift
            break
            ;;
        *)
            echo "tests/run.sh: unknown option '$1'; expected --all, --asan, --help or --" >&2
            exit 2
            ;;
    esac
    shift
done

cmake/install_packages.sh
cmake/build.sh "$preset"

echo "devices:"
"build/$preset/bin/pconv" devices
if [ -z "$(find "build/$preset" -maxdepth 2 -name 'libpconv_cuda.*')" ]; then
    echo "skipped: CUDA devices: the CUDA module is not built; it needs CUDA toolkit 13 and cuDNN 9"
fi

# Tests run side by side: threads that wait for each other must not keep the cores from them.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
if [ -z "$all" ]; then
    set -- -LE '^long$' "$@"
fi
ctest --preset "$preset" --parallel "$(nproc)" "$@"
