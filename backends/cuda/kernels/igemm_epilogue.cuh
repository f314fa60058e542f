// From the sums in a block's registers to the destination: through shared memory, 64 columns at a time, so
// that each thread has neighbours in memory and stores them as one vector of 16 bytes.
#pragma once

#include "igemm_tile.cuh"
#include "pass_elements.cuh"

namespace pconv::cuda {

struct IgemmOutput {
    View view;
    const void* bias;
    elementwise::Epilogue epilogue;
    ResultReader results;
    GradientMask mask;  // of the input's gradient
    bool accumulate;
    // Along the fast dimension of memory lie positions, not channels; in `runs`, aligned runs of 16 bytes of
    // rows with ascending positions lie side by side.
    bool rows_fast, runs;
    // Forward only: the depth may be cut into slices, in the grid's third dimension, whose sums go to
    // [slices][rows][groups * columns] and are finished by another launch. Null: one slice.
    float* partials;
};

constexpr int kSumColumns = 2 * kWarpColumns;

// A row of the destination, with what its columns are multiplied by unless they differ in that
// (`by_channel`): ratio and updated mask, or for the input's gradient the mask.
struct IgemmOutputRow {
    int64_t offset;
    int n;
    int position;  // in the destination's image; -1: there is no such row
    float first, second;
};

// Where a sum lies. Eight bytes of a warp's registers written, and 16 bytes of neighbours read (vectors of
// 16-bit results are two of these), meet no bank twice: quadruples lie in turn in two halves.
template <bool rows_fast, typename T>
struct SumPlace {
    static constexpr int kHalf = !rows_fast ? 48 : sizeof(T) == 4 ? 4 : 68;
    static constexpr int kPitch = rows_fast ? 132 : 84;
    __host__ __device__ static constexpr int along(int fast) {
        return rows_fast && sizeof(T) == 4 ? fast : fast / 8 * 4 + fast % 4 + fast / 4 % 2 * kHalf;
    }
    __host__ __device__ static constexpr int at(int row, int column) {
        return rows_fast ? column * kPitch + along(row) : row * kPitch + along(column);
    }
};

struct IgemmOutputTile {
    alignas(16) float sums[kBlockRows * SumPlace<false, float>::kPitch];
    IgemmOutputRow rows[kBlockRows];
};
static_assert(kSumColumns * SumPlace<true, F16>::kPitch <= kBlockRows * SumPlace<false, F16>::kPitch,
              "either order fits");

// The sums of warps whose columns are among the tile's.
template <bool rows_fast, typename T>
__device__ __forceinline__ void keepSums(IgemmOutputTile& tile, const WarpSums& sums) {
    using Place = SumPlace<rows_fast, T>;
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
    const int row = warp % 2 * kWarpRows + lane / 4;
    const int column = warp / 2 % 2 * kWarpColumns + lane % 4 * 2;
    float* to = tile.sums + Place::at(row, column);
#pragma unroll
    for (int i = 0; i < kMultiplyRows; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int j = 0; j < kMultiplyColumns; ++j) {
                float* pair = to + Place::at(i * 16 + half * 8, j * 8);
                if constexpr (rows_fast) {
                    storeShared(pair, sums[i][j][half * 2]);
                    storeShared(pair + Place::kPitch, sums[i][j][half * 2 + 1]);
                } else {
                    storeShared(pair, float2{sums[i][j][half * 2], sums[i][j][half * 2 + 1]});
                }
            }
}

// `count` neighbours: 4 or 8, from a whole multiple of that on.
template <bool rows_fast, typename T, int count>
__device__ __forceinline__ void readSums(const IgemmOutputTile& tile, int row, int column,
                                         float (&values)[count]) {
    using Place = SumPlace<rows_fast, T>;
    const float* from = tile.sums + Place::at(row, column);
#pragma unroll
    for (int i = 0; i < count; i += 4) {
        const float4 four = loadShared4(from + Place::along(i));
        values[i] = four.x;
        values[i + 1] = four.y;
        values[i + 2] = four.z;
        values[i + 3] = four.w;
    }
}

// What an element of an existing row is multiplied by.
template <bool backward>
__device__ __forceinline__ void readFactors(const IgemmOutput& out, int n, int channel, int position,
                                            float& first, float& second) {
    if (backward) {
        first = out.mask.apply(1, n, channel, position);
        return;
    }
    const int64_t at = out.results.index(n, channel, position);
    first = out.results.ratio(at);
    second = out.results.updated(at);
}

// The results in place of the sums, element by element: what is rare or long is not unrolled.
template <typename T, bool backward, bool rows_fast>
__device__ __forceinline__ void finishTile(const IgemmOutput& out, IgemmOutputTile& tile, bool by_channel,
                                           int first_channel, int columns) {
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < kBlockRows * kSumColumns;
         i += static_cast<int>(blockDim.x)) {
        const int row = rows_fast ? i % kBlockRows : i / kSumColumns;
        const int column = rows_fast ? i / kBlockRows : i % kSumColumns;
        const IgemmOutputRow of_row = tile.rows[row];
        if (column >= columns || of_row.position < 0) continue;
        const int channel = first_channel + column;
        float first = of_row.first;
        float second = of_row.second;
        if (by_channel) readFactors<backward>(out, of_row.n, channel, of_row.position, first, second);
        float& sum = tile.sums[SumPlace<rows_fast, T>::at(row, column)];
        const T* bias = static_cast<const T*>(out.bias);
        sum = backward ? elementwise::masked(sum, first)
                       : out.epilogue(sum, first, second, bias == nullptr ? 0 : toFloat(bias[channel]));
    }
    syncThreads();
}

// `count` results: as one vector, or one by one where they do not lie side by side or some do not exist.
template <typename T, int count, typename Exists, typename At>
__device__ __forceinline__ void storeResults(const IgemmOutput& out, float (&values)[count], bool whole,
                                             const Exists& exists, const At& at) {
    if (whole && reinterpret_cast<uintptr_t>(at(0)) % (sizeof(T) * count) == 0) {
        Several<T, count> several;
        if (out.accumulate) {
            several = *reinterpret_cast<const Several<T, count>*>(at(0));
#pragma unroll
            for (int i = 0; i < count; ++i) values[i] += toFloat(several.values[i]);
        }
#pragma unroll
        for (int i = 0; i < count; ++i) setFloat(several.values[i], values[i]);
        storeVector(at(0), several);
        return;
    }
#pragma unroll
    for (int i = 0; i < count; ++i)
        if (exists(i)) storeResult(at(i), values[i], out.accumulate);
}

// The tile's results for `columns` channels from the first on. finished: they are in place of the sums.
template <typename T, bool backward, bool rows_fast>
__device__ __forceinline__ void storeTile(const IgemmOutput& out, const IgemmOutputTile& tile, bool finished,
                                          int first_channel, int columns) {
    constexpr int count = kVector<T>;
    constexpr int kFast = (rows_fast ? kBlockRows : kSumColumns) / count;  // vectors
    constexpr int kSlow = rows_fast ? kSumColumns : kBlockRows;
    const int fast = static_cast<int>(threadIdx.x) % kFast * count;
    const int step = static_cast<int>(blockDim.x) / kFast;
    T* const data = static_cast<T*>(out.view.data);
    const T* const bias = static_cast<const T*>(out.bias);
    // Along the columns the biases are the thread's own, along the rows their factors.
    float biases[count];
    float first[count];
    float second[count];
#pragma unroll
    for (int i = 0; i < count; ++i) {
        biases[i] = 0;
        if (!rows_fast && bias != nullptr && fast + i < columns)
            biases[i] = toFloat(bias[first_channel + fast + i]);
        first[i] = rows_fast ? tile.rows[fast + i].first : 0;
        second[i] = rows_fast && !backward ? tile.rows[fast + i].second : 0;
    }
#pragma unroll 1
    for (int slow = static_cast<int>(threadIdx.x) / kFast; slow < (rows_fast ? columns : kSlow);
         slow += step) {
        const int row = rows_fast ? fast : slow;
        const int column = rows_fast ? slow : fast;
        const int channel = first_channel + column;
        const IgemmOutputRow& first_row = tile.rows[row];
        if (first_row.position < 0 || column >= columns) continue;
        const float of_all = rows_fast && bias != nullptr ? toFloat(bias[channel]) : 0;
        float values[count];
        readSums<rows_fast, T>(tile, row, column, values);
        if (!finished) {
            const float one = first_row.first;
            const float two = first_row.second;
#pragma unroll
            for (int i = 0; i < count; ++i)
                values[i] = backward ? elementwise::masked(values[i], rows_fast ? first[i] : one)
                                     : out.epilogue.rectified(values[i], rows_fast ? first[i] : one,
                                                              rows_fast ? second[i] : two,
                                                              rows_fast ? of_all : biases[i]);
        }
        T* const to = data + channel * out.view.strides[1];
        if constexpr (rows_fast) {
            const bool whole =
                out.runs && tile.rows[row + count - 1].position == first_row.position + count - 1;
            storeResults<T, count>(
                out, values, whole, [&](int i) { return tile.rows[row + i].position >= 0; },
                [&](int i) { return to + tile.rows[row + i].offset; });
        } else {
            storeResults<T, count>(
                out, values, column + count <= columns, [&](int i) { return column + i < columns; },
                [&](int i) { return to + first_row.offset + i; });
        }
    }
}

// The tile's sums as they are.
template <typename T>
__device__ __forceinline__ void storePartials(const IgemmOutput& out, const IgemmOutputTile& tile,
                                              int first_row, int rows, int channels, int first_channel,
                                              int columns) {
    constexpr int count = 4;
    constexpr int kFast = kSumColumns / count;
    const int column = static_cast<int>(threadIdx.x) % kFast * count;
    float* const to =
        out.partials + static_cast<int64_t>(blockIdx.z) * rows * channels + first_channel + column;
#pragma unroll 1
    for (int row = static_cast<int>(threadIdx.x) / kFast; row < kBlockRows && first_row + row < rows;
         row += static_cast<int>(blockDim.x) / kFast) {
        float* const of_row = to + static_cast<int64_t>(first_row + row) * channels;
        float values[count];
        readSums<false, T>(tile, row, column, values);
        if (column + count <= columns && reinterpret_cast<uintptr_t>(of_row) % 16 == 0) {
            storeVector(of_row, float4{values[0], values[1], values[2], values[3]});
            continue;
        }
#pragma unroll
        for (int i = 0; i < count; ++i)
            if (column + i < columns) of_row[i] = values[i];
    }
}

}  // namespace pconv::cuda
