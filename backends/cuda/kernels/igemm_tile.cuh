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

template <typename T>
__device__ __forceinline__ void multiplyWarp(WarpSums& sums, uint32_t (&a)[kMultiplyRows][4],
                                             const uint32_t (&b)[kMultiplyColumns][2]) {
#pragma unroll
    for (int i = 0; i < kMultiplyRows; ++i)
#pragma unroll
        for (int j = 0; j < kMultiplyColumns; ++j) multiplyAccumulate<T>(sums[i][j], a[i], b[j]);
}

}  // namespace pconv::cuda
