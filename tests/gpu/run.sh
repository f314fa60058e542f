#!/bin/sh
# Runs all that needs an NVIDIA GPU and writes a report; see usage below. Needs no network, and nothing but a driver.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)

usage() {
    cat <<'END'
Usage: tests/gpu/run.sh [OPTION...] OUT

Runs what proves most first: the conformance suites and every row and type on the CUDA device, then the Vulkan device of the same GPU,
random configurations, the benchmarks and the comparison with PyTorch, and compute-sanitizer on a handful. Writes OUT/GPU.md and
OUT/GPU.json, named by the GPU, with the commit, the driver, what passed, what failed and what was not run; both are written anew after
each step, so that an end at any time leaves them. Logs go to OUT/logs. No step stops another: each has a time limit of its own.

  --build PATH    use a file that tests/gpu/pack.sh made, or a folder with bin/ and lib/; else build into build/gpu, which needs CMake,
                  a compiler and the CUDA toolkit
  --commit ID     the commit it was built from, where neither the file nor git tells
  --minutes N     end after about so many minutes; what there was no time for is listed (9)
  --seconds N     of random configurations on each row (20); a plan of cuDNN's takes half a second
  --device N      the n-th CUDA device (0)
  --only STEP     run this step alone: unit, rows, conformance, vulkan, fuzz, sanitizer or bench
  --help          show this

Exit status: 0 all that was run passed, 1 something failed, 2 misuse, 3 no GPU.

Examples:
  tests/gpu/run.sh out
  tests/gpu/run.sh --build build/gpu.tar.xz --minutes 5 out
END
}

say() { echo "tests/gpu/run.sh: $*" >&2; }
misuse() {
    say "$*; see --help"
    exit 2
}

build='' commit='' seconds=20 minutes=9 device=0 only='' out=''
while [ $# -gt 0 ]; do
    case "$1" in
        --build | --commit | --seconds | --minutes | --device | --only)
            [ $# -ge 2 ] || misuse "$1 needs a value"
            name=${1#--}
            eval "$name=\$2"
            shift
            ;;
        --help | -h)
            usage
            exit 0
            ;;
        -*) misuse "unknown option '$1'" ;;
        *)
            [ -z "$out" ] || misuse "one OUT, not two"
            out=$1
            ;;
    esac
    shift
done
[ -n "$out" ] || misuse "OUT is missing"
for number in "$seconds" "$device" "$minutes"; do
    case "$number" in '' | *[!0-9]* | 0?*) misuse "--seconds, --minutes and --device take whole numbers, without zeros in front" ;; esac
done
started=$(date +%s)
case "$only" in '' | unit | rows | conformance | vulkan | fuzz | sanitizer | bench) ;; *) misuse "there is no step '$only'" ;; esac

# ---- What is run ---------------------------------------------------------------------------------------------------------

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
running='' # the step's process, which ends with the script
trap '[ -z "$running" ] || { kill "$running"; wait "$running"; }; exit 143' HUP INT TERM
if [ -f "$build" ]; then
    mkdir "$work/build"
    tar -C "$work/build" -xJf "$build" || misuse "$build cannot be unpacked; expected a file of tests/gpu/pack.sh"
    build=$work/build
    [ -n "$commit" ] || commit=$(cat "$build/commit")
fi
if [ -z "$build" ]; then
    build=$root/build/gpu
    if ! command -v cmake >/dev/null || ! command -v nvcc >/dev/null; then
        misuse "there is no CMake or no nvcc to build with; give --build DIR with prebuilt binaries"
    fi
    if ! cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DPCONV_BACKEND_CUDA=ON -DPCONV_BENCH=OFF >&2 ||
        ! cmake --build "$build" --parallel "$(nproc)" >&2; then
        say "the build failed"
        exit 1
    fi
fi
bin=$build/bin
[ -x "$bin/pconv" ] || misuse "there is no program $bin/pconv"
[ -n "$commit" ] || commit=$(git -C "$root" describe --always --dirty --abbrev=12 2>/dev/null) || commit=unknown
export LD_LIBRARY_PATH="${PCONV_GPU_LIBRARIES:-$build/lib}:${LD_LIBRARY_PATH:-}"
export PCONV_CASES="${PCONV_CASES:-$root/tests/conformance/cases}"
export PCONV_CACHE_DIR="$work/cache"

# ---- Which devices there are ---------------------------------------------------------------------------------------------

if ! "$bin/pconv" devices >"$work/devices" 2>"$work/devices.err"; then
    say "pconv devices fails: $(cat "$work/devices.err")"
    exit 1
fi
# One line a device: number, backend, name.
awk '/^Devices/ { list = 1; next }
     list && /^ +[0-9]+  / { number = $1; name = $0; sub(/^ +[0-9]+ +/, "", name) }
     list && $1 == "backend" { print number "\t" $2 "\t" name }' "$work/devices" >"$work/list"
line=$(awk -F '\t' -v n="$device" '$2 == "cuda" && seen++ == n' "$work/list")
if [ -z "$line" ]; then
    reason=$(sed -n 's/^ *cuda *absent: //p' "$work/devices")
    say "no GPU: ${reason:-there is no CUDA device $device}"
    exit 3
fi
mkdir -p "$out/logs" || exit 2
out=$(cd "$out" && pwd)
rm -f "$out"/logs/*.log # an earlier run's, which the report would count
cuda=$(echo "$line" | cut -f 1)
gpu=$(echo "$line" | cut -f 3)
vulkan=$(awk -F '\t' -v name="$gpu" '$2 == "vulkan" && $3 == name { print $1; exit }' "$work/list")
field() { awk -v number="$cuda" -v want="$1" '/^ +[0-9]+  / { here = $1 == number } here && $1 == want { $1 = ""; sub(/^ +/, ""); print; exit }' "$work/devices"; }
driver=$(field driver)
features=$(field features)
release=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1)
cuda_rows=$(awk -v number="$cuda" '/^ +[0-9]+  / { here = $1 == number } here { for (i = 1; i <= NF; ++i) if ($i ~ /^cuda:/) print $i }' "$work/devices")
vulkan_rows=$(awk -v number="$vulkan" '/^ +[0-9]+  / { here = $1 == number } here { for (i = 1; i <= NF; ++i) if ($i ~ /^vulkan:/) print $i }' "$work/devices")
file=$(echo "$gpu" | tr -c 'A-Za-z0-9\n' '-' | tr -s '-' | sed 's/-$//')
say "$gpu, $driver, commit $commit"

# ---- Steps -----------------------------------------------------------------------------------------------------------------

: >"$work/results" # step, outcome, counts, log
: >"$work/not_run" # what, why
wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }
not_run() { printf '%s\t%s\n' "$1" "$2" >>"$work/not_run"; }

# step NAME SECONDS COMMAND...: its outcome, with GoogleTest's counts where it prints them; no longer than SECONDS, nor than is left.
step() {
    name=$1
    limit=$2
    shift 2
    left=$((started + 60 * minutes - $(date +%s)))
    if [ "$left" -lt 5 ]; then
        not_run "$name" "no time was left"
        write_report
        return
    fi
    [ "$limit" -lt "$left" ] || limit=$left
    log=$out/logs/$(echo "$name" | tr -c 'A-Za-z0-9\n' '_').log
    if [ ! -x "$1" ] && ! command -v "$1" >/dev/null; then
        not_run "$name" "there is no program $(basename "$1")"
        write_report
        return
    fi
    printf '%s ... ' "$name" >&2
    began=$(date +%s)
    timeout -k 5 "$limit" "$@" >"$log" 2>&1 </dev/null &
    running=$!
    wait "$running"
    ended=$?
    running=''
    case $ended in 0) outcome=passed ;; 124 | 137) outcome="ran out of its $limit s" ;; *) outcome=failed ;; esac
    took=$(($(date +%s) - began))
    number() { sed -n "s/^\[  $1 *\] \([0-9]*\) tests\{0,1\}.*/\1/p" "$log" | tail -n 1; }
    passed=$(number PASSED) failed=$(number FAILED) skipped=$(number SKIPPED)
    counts="${passed:-}${passed:+ passed}${failed:+, $failed failed}${skipped:+, $skipped skipped}"
    [ -n "$counts" ] || counts=$(tail -n 1 "$log" | cut -c 1-200)
    if [ "$outcome" = passed ] && [ "${passed:-1}" = 0 ]; then
        not_run "$name" "$(sed -n '/Skipped$/{n;p;}' "$log" | head -n 1 | cut -c 1-200)"
        echo "not run" >&2
        write_report
        return
    fi
    printf '%s\t%s\t%s\t%s\t%s\n' "$name" "$outcome" "$counts" "$took" "logs/$(basename "$log")" >>"$work/results"
    echo "$outcome ($took s)" >&2
    write_report
}

# ---- The report ------------------------------------------------------------------------------------------------------------

# Of what has been run so far.
write_report() {
    # By row and data type: passed, failed and skipped settings of the rows' own test.
    rows_log=$out/logs/$(echo "rows, every data type, forward and backward" | tr -c 'A-Za-z0-9\n' '_').log
    : >"$work/matrix"
    : >"$work/lacking"
    for row in $cuda_rows; do
        for type in f32 tf32 f16 bf16 f16fast bf16fast; do
            tally() { grep -c "^\[ *$1 *\] Rows/.*/${row#cuda:}_[a-z_]*_$type\( \|,\)" "$rows_log" 2>/dev/null | head -n 1; }
            # A failed setting is listed twice: when it ends and in the summary, where no time follows.
            ok=$(tally OK) failed=$(grep -c "^\[  FAILED  \] Rows/.*/${row#cuda:}_[a-z_]*_$type.*ms)" "$rows_log" 2>/dev/null)
            skipped=$(grep -c "^\[  SKIPPED \] Rows/.*/${row#cuda:}_[a-z_]*_$type (" "$rows_log" 2>/dev/null)
            printf '%s\t%s\t%s\t%s\t%s\n' "$row" "$type" "${ok:-0}" "${failed:-0}" "${skipped:-0}" >>"$work/matrix"
            [ "${ok:-0}" != 0 ] || [ "${failed:-0}" != 0 ] ||
                printf '%s\t%s\n' "$row in $type" "it declines every setting, or the step was not run" >>"$work/lacking"
        done
    done
    cat "$work/not_run" "$work/lacking" >"$work/absent"
    failures=$(awk -F '\t' '$2 != "passed"' "$work/results" | wc -l)
    steps=$(wc -l <"$work/results")
    date=$(date -u +%Y-%m-%dT%H:%M:%SZ)
    {
        echo "# $gpu"
        echo
        echo "- commit: $commit"
        echo "- date: $date"
        echo "- driver: $driver${release:+, release $release}"
        echo "- features: $features"
            echo
        echo "$((steps - failures)) of $steps steps passed."
        echo
        echo "| step | outcome | tests | seconds |"
        echo "| --- | --- | --- | --- |"
        awk -F '\t' '{ printf "| %s | %s | %s | %s |\n", $1, $2, $3, $4 }' "$work/results"
        echo
        echo "## By row and data type"
        echo
        echo "Settings of \`pconv_cuda_rows\`, each forward and backward in four layouts; tf32 is f32 with fast math, which 16-bit types have too: it allows rounding a fractional mask times the input."
        echo
        echo "| row | type | passed | failed | declined |"
        echo "| --- | --- | --- | --- | --- |"
        awk -F '\t' '{ printf "| %s | %s | %s | %s | %s |\n", $1, $2, $3, $4, $5 }' "$work/matrix"
        echo
        echo "## Not run"
        echo
        if [ -s "$work/absent" ]; then awk -F '\t' '{ printf "- %s: %s\n", $1, $2 }' "$work/absent"; else echo "Nothing so far."; fi
    } >"$work/report.md"
    {
        awk -v gpu="$gpu" -v commit="$commit" -v date="$date" -v driver="$driver" -v release="$release" -v features="$features" \
            -v results="$work/results" -v matrix="$work/matrix" -v not_run="$work/absent" '
            function quoted(text) { gsub(/\\/, "\\\\", text); gsub(/"/, "\\\"", text); gsub(/[\001-\037]/, " ", text); return "\"" text "\"" }
            BEGIN {
                printf "{\n  \"gpu\": %s,\n  \"commit\": %s,\n  \"date\": %s,\n", quoted(gpu), quoted(commit), quoted(date)
                printf "  \"driver\": %s,\n  \"driver_release\": %s,\n  \"features\": %s,\n", quoted(driver), quoted(release), quoted(features)
                printf "  \"steps\": ["
                FS = "\t"; comma = ""
                while ((getline < results) > 0) {
                    printf "%s\n    {\"name\": %s, \"outcome\": %s, \"tests\": %s, \"seconds\": %d, \"log\": %s}", comma, quoted($1), quoted($2), quoted($3), $4, quoted($5)
                    comma = ","
                }
                printf "\n  ],\n  \"rows\": ["; comma = ""
                while ((getline < matrix) > 0) {
                    printf "%s\n    {\"row\": %s, \"type\": %s, \"passed\": %d, \"failed\": %d, \"declined\": %d}", comma, quoted($1), quoted($2), $3, $4, $5
                    comma = ","
                }
                printf "\n  ],\n  \"not_run\": ["; comma = ""
                while ((getline < not_run) > 0) {
                    printf "%s\n    {\"what\": %s, \"why\": %s}", comma, quoted($1), quoted($2)
                    comma = ","
                }
                printf "\n  ]\n}\n"
            }'
    } >"$work/report.json"
    mv "$work/report.md" "$out/$file.md" && mv "$work/report.json" "$out/$file.json" || exit 1
}

# conformance DEVICE_NUMBER BACKEND: all suites on all rows of one device.
conformance() {
    step "pconv conformance: $2" 60 "$bin/pconv" conformance --device "$1" --impl all --profile all --cases "$PCONV_CASES" --report "$out/$file-$2-conformance.json"
    for suite in cases exact safety settings sizes training; do
        step "conformance $2: $suite" 40 "$bin/pconv_conformance.$suite" "--gtest_filter=*d$1_$2_*"
    done
}

run_steps() {
    if wanted conformance; then conformance "$cuda" cuda; fi
    wanted rows && step "rows, every data type, forward and backward" 90 "$bin/pconv_cuda_rows" '--gtest_filter=-*CudaRandom*'
    if wanted unit; then
        for test in adopt api bit_mask cuda_device cuda_graphs masked_norm upsample network; do
            case $test in cuda_graphs) filter='PlanCache.*' ;; network) filter='*/cuda' ;; *) filter='*' ;; esac
            step "unit: $test" 40 "$bin/pconv_$test" "--gtest_filter=$filter"
        done
    fi
    if wanted vulkan; then
        if [ -n "$vulkan" ]; then conformance "$vulkan" vulkan; else not_run "conformance vulkan" "no Vulkan device is named '$gpu'"; fi
    fi
    if wanted fuzz; then
        for row in $cuda_rows $vulkan_rows; do
            [ "$row" != cuda:igemm ] || continue # not in exact f32, which this is
            step "random configurations: $row" $((seconds + 20)) "$bin/pconv_fuzz" --row "$row" --seconds "$seconds"
        done
        step "random configurations in every data type" 60 env PCONV_RANDOM_COUNT=15 "$bin/pconv_cuda_rows" '--gtest_filter=*CudaRandom*'
    fi
    if wanted bench; then
        # bench NAME OPTION...: the table goes to the log, every figure to a file.
        bench() {
            name=$1
            shift
            step "bench: $name" 60 "$bin/pconv" bench --json "$out/$file-bench-$name.json" "$@"
        }
        bench cuda-fast --device "$cuda" --math fast --table all
        bench cuda-exact --device "$cuda" --table 2d,limits
        bench cuda-f16 --device "$cuda" --dtype f16 --math fast --table 2d,3d,limits
        python=$(command -v python3 || true)
        if [ -n "$python" ] && "$python" -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2>/dev/null; then
            for table in 2d 2d_networks 3d multi 3d_networks; do
                step "PyTorch: $table" 60 "$python" "$root/bench/compare_pytorch.py" --device cuda --library "$build/lib/libpconv.so.0" \
                    --precision fast --table "$table" --json "$out/$file-pytorch-$table.json"
            done
            step "PyTorch: 2d backward" 60 "$python" "$root/bench/compare_pytorch.py" --device cuda --library "$build/lib/libpconv.so.0" \
                --precision fast --table 2d --backward --json "$out/$file-pytorch-2d-backward.json"
        else
            not_run "the comparison with PyTorch" "there is no PyTorch with CUDA"
        fi
        bench cuda-backward --device "$cuda" --math fast --table 2d --backward
        if [ -n "$vulkan" ]; then
            bench vulkan-exact --device "$vulkan" --table 2d,limits
            bench vulkan-f16 --device "$vulkan" --dtype f16 --math fast --table 2d
        fi
    fi
    if wanted sanitizer; then
        for tool in memcheck racecheck; do
            if command -v compute-sanitizer >/dev/null; then
                step "$tool: rows" 60 compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/pconv_cuda_rows" '--gtest_filter=*plain*'
                step "$tool: cuda:direct" 40 compute-sanitizer --tool "$tool" --error-exitcode 1 "$bin/pconv_fuzz" --row cuda:direct --count 20
            else
                not_run "$tool" "compute-sanitizer is not installed"
            fi
        done
    fi
    for name in unit rows conformance vulkan fuzz sanitizer bench; do
        wanted $name || not_run "step $name" "--only $only"
    done
}

write_report # of nothing yet: an end within the first step leaves one too
run_steps
write_report
say "$((steps - failures)) of $steps steps passed; the report is $out/$file.md"
[ "$failures" -eq 0 ]
