// What the tensor-core kernels share: the shape of a warp's tile, and the product of two operands in shared
// memory.
#pragma once

#include "kernel_support.cuh"

namespace pconv::cuda {

// A warp makes 64 x 32: 4 x 4 products of 16 x 8. Two warps lie along the rows of a block.
constexpr int kWarpRows = 64;
constexpr int kWarpColumns = 32;
constexpr int kBlockRows = 2 * kWarpRows;
constexpr int kMultiplyRows = 4;
constexpr int kMultiplyColumns = 4;

// A vector is what one copy moves, 16 bytes of channels.
constexpr int kVectorBytes = 16;
template <typename T>
constexpr int kVector = kVectorBytes / static_cast<int>(sizeof(T));

using WarpSums = float[kMultiplyRows][kMultiplyColumns][4];

// f(row of the block's tile, column of it, two neighbouring sums) for all that a thread holds.
template <typename F>
__device__ __forceinline__ void forEachPair(const WarpSums& sums, const F& f) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    const int warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
    for (int i = 0; i < kMultiplyRows; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            const int row = warp % 2 * kWarpRows + i * 16 + half * 8 + lane / 4;
#pragma unroll
            for (int j = 0; j < kMultiplyColumns; ++j)
                f(row, warp / 2 * kWarpColumns + j * 8 + lane % 4 * 2, sums[i][j][half * 2],
                  sums[i][j][half * 2 + 1]);
        }
}

// Adds the product of a stage, two multiplies deep. Tensor cores truncate what they add, always toward zero,
// so that their own sum of many products of one sign drifts away by a bit a step; the chain of two begins at
// zero, and is added as f32 is, to nearest. loadA(i, deep, a) and loadB(j, deep, b, b) load the operands of
// 16 rows and of 2 x 8 columns.
template <typename T, typename LoadA, typename LoadB>
__device__ __forceinline__ void multiplyStage(WarpSums& sums, const LoadA& loadA, const LoadB& loadB,
                                              int rows) {
    uint32_t b[2][kMultiplyColumns][2];
#pragma unroll
    for (int deep = 0; deep < 2; ++deep)
#pragma unroll
        for (int j = 0; j < kMultiplyColumns; j += 2) loadB(j, deep, b[deep][j], b[deep][j + 1]);
#pragma unroll
    for (int i = 0; i < kMultiplyRows; ++i) {
        if (i * 16 >= rows) break;
        float chains[kMultiplyColumns][4] = {};
#pragma unroll
        for (int deep = 0; deep < 2; ++deep) {
            uint32_t a[4];
            loadA(i, deep, a);
#pragma unroll
            for (int j = 0; j < kMultiplyColumns; ++j) multiplyAccumulate<T>(chains[j], a, b[deep][j]);
        }
#pragma unroll
        for (int j = 0; j < kMultiplyColumns; ++j)
#pragma unroll
            for (int r = 0; r < 4; ++r) sums[i][j][r] += chains[j][r];
    }
}

}  // namespace pconv::cuda
