#!/bin/sh
# The compiler's report on the CUDA kernels, held to kernel_resources.txt; see usage below.
set -eu

usage() {
    cat <<'END'
Usage: compile_report.sh NVCC FOLDER [--write]

Compiles every kernel for sm_86 and sm_90 into FOLDER, where FOLDER/report.txt is what the compiler says of each: chip, kernel,
registers, bytes of stack, of spills and of static shared memory, instructions of the chip's, and divisions of whole numbers in PTX
(some twenty instructions each, a hundred where they are of 64 bits). Fails where a warning is given, a kernel has a stack frame or
spills, or one of the main kernels, listed in kernel_resources.txt, needs more registers, instructions or divisions than are allowed
there or is missing.

  --write   make the table of what was found, instead of comparing with it
END
}

if [ $# -lt 2 ]; then
    usage >&2
    exit 2
fi
nvcc=$1
folder=$2
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
table=$here/kernel_resources.txt
main="igemmProduct|finishSlices|igemmWeightGradient|directProduct|directElement|directWeightGradient|directWeightElement"
main="$main|packMask|maskWindow|maskCount|maskedCopy|maskedCopyPlanes|maskedCopyPixels|gradPrepare|gradPreparePlanes|gradPreparePixels"
main="$main|epiloguePass|epiloguePlanes|epiloguePixels|sumPositions|normalize|normalizePlanes|normalizePixels"
mkdir -p "$folder"
rm -rf "$folder"/*.log "$folder"/kept

# One job a file: both chips at once, so that a file is parsed once. The inner shell expands its own parameters.
# shellcheck disable=SC2016
find "$root/backends/cuda/kernels" -name '*.cu' -print0 |
    xargs -0 -P "$(getconf _NPROCESSORS_ONLN)" -I FILE sh -c '
        name=$(basename "$2" .cu)
        mkdir -p "$1/kept/$name"
        "$0" -std=c++17 -O3 -c "$2" -o "$1/$name.o" -I"$3/src" -I"$3/include" -I"$3/backends" \
            -DPCONV_BUILD_VERSION=\"report\" -gencode arch=compute_86,code=sm_86 -gencode arch=compute_90,code=sm_90 \
            --keep --keep-dir "$1/kept/$name" -Xptxas -v,-warn-spills -Werror all-warnings -Xcompiler -Wall,-Wextra >"$1/$name.log" 2>&1 ||
            { cat "$1/$name.log" >&2; exit 255; }' "$nvcc" "$folder" FILE "$root"

# A line for each kernel's instructions, 16 bytes each, and one for its divisions.
{
    for file in "$folder"/kept/*/*.cubin; do
        chip=sm_$(basename "$file" | sed -E 's/.*\.(sm|compute)_([0-9]+)\..*/\2/')
        size -A "$file" | sed -n -E "s/^\.text\.([^ ]+) +([0-9]+).*/instructions $chip \1 \2/p"
    done
    for file in "$folder"/kept/*/*.ptx; do
        chip=sm_$(basename "$file" | sed -E 's/.*\.(sm|compute)_([0-9]+)\..*/\2/')
        awk -v chip="$chip" '
            /\.entry/ {
                kernel = $0
                sub(/.*\.entry */, "", kernel)
                sub(/[(].*/, "", kernel)
            }
            /^[ \t]*(div|rem)\.[su](32|64)/ { ++divisions[kernel] }
            END { for (kernel in divisions) print "divisions", chip, kernel, divisions[kernel] }' "$file"
    done
} >"$folder/counts.txt"

cat "$folder/counts.txt" "$folder"/*.log | awk '
    /^instructions / { instructions[$2 " " $3] = $4 / 16 }
    /^divisions / { divisions[$2 " " $3] = $4 }
    /Compiling entry function/ {
        split($0, part, "\047")
        kernel = part[2]
        chip = part[4]
    }
    / bytes stack frame/ {
        stack = $1
        spills = $5 + $9
    }
    /Used [0-9]+ registers/ {
        shared = 0
        for (i = 2; i <= NF; ++i) {
            if ($i ~ /^registers/) registers = $(i - 1)
            if ($i ~ /^smem/) shared = $(i - 2)
        }
        # Registers are given out by eights.
        print chip, int((registers + 7) / 8) * 8, stack, spills, shared, instructions[chip " " kernel] + 0, divisions[chip " " kernel] + 0, kernel
    }' | c++filt | sed -E 's/ void / /; s/pconv::cuda:://g; s/\(anonymous namespace\):://g; s/\([^()]*\)$//; s/, /,/g; s/unsigned char/u8/g; s/unsigned short/u16/g; s/unsigned int/u32/g' |
    awk '{ print $1, $8, $2, $3, $4, $5, $6, $7 }' | sort >"$folder/report.txt"

if [ "${3-}" = --write ]; then
    {
        echo "# chip kernel registers instructions divisions: the most that a thread may be given, or that there may be."
        echo "# compile_report.sh --write makes this table, with a tenth more instructions than there are."
        grep -E " ($main)[< ]" "$folder/report.txt" | awk '{ print $1, $2, $3, int($7 * 1.1 / 8 + 1) * 8, $8 }'
    } >"$table"
    exit
fi

awk -v report="$folder/report.txt" '
    FNR == NR {
        if ($0 !~ /^#/) {
            allowed[$1 " " $2] = $3
            instructions[$1 " " $2] = $4
            divisions[$1 " " $2] = $5
        }
        next
    }
    {
        kernel = $1 " " $2
        seen[kernel] = 1
        fault = ""
        if (kernel in allowed && $3 > allowed[kernel]) fault = "needs " $3 " registers; expected at most " allowed[kernel]
        if (kernel in allowed && $7 > instructions[kernel]) fault = "has " $7 " instructions; expected at most " instructions[kernel]
        if (kernel in allowed && $7 == 0) fault = "has no instructions in " report ": its file was not found"
        if (kernel in allowed && $8 > divisions[kernel]) fault = "has " $8 " divisions; expected at most " divisions[kernel]
        if ($4 > 0) fault = "has a stack frame of " $4 " bytes; expected none"
        if ($5 > 0) fault = "spills " $5 " bytes; expected none"
        if (fault != "") {
            print kernel " " fault
            faults = 1
        }
    }
    END {
        for (kernel in allowed)
            if (!(kernel in seen)) {
                print kernel " is in kernel_resources.txt, but was not compiled"
                faults = 1
            }
        count = 0
        for (kernel in seen) ++count
        if (!faults) print count " kernels: no stack frame, no spill, registers, instructions and divisions within kernel_resources.txt; see " report
        exit faults
    }' "$table" "$folder/report.txt"
