// A thread for each output element of a pass, along the output's dense axis.
#pragma once

#include <algorithm>

#include "kernel_support.cuh"
#include "passes.h"

namespace pconv::cuda {

constexpr unsigned kPassThreads = 256;

struct Output {
    int n, c, p[3];
};

// The output of `index`; channels vary fastest where they lie beside each other.
__device__ __forceinline__ Output outputAt(const PassProblem& p, int64_t index) {
    Output o;
    const bool channels_inside = p.y.strides[1] == 1 && p.channels > 1;
    if (channels_inside) {
        o.c = static_cast<int>(index % p.channels);
        index /= p.channels;
    }
    o.p[2] = static_cast<int>(index % p.output[2]);
    index /= p.output[2];
    o.p[1] = static_cast<int>(index % p.output[1]);
    index /= p.output[1];
    o.p[0] = static_cast<int>(index % p.output[0]);
    index /= p.output[0];
    if (!channels_inside) {
        o.c = static_cast<int>(index % p.channels);
        index /= p.channels;
    }
    o.n = static_cast<int>(index);
    return o;
}

__device__ __forceinline__ int64_t elementOffset(const View& view, const Output& o) {
    return o.c * view.strides[1] + positionOffset(view, o.n, o.p[0], o.p[1], o.p[2]);
}

__host__ __device__ __forceinline__ int64_t outputCount(const PassProblem& p) {
    return static_cast<int64_t>(p.batch) * p.channels * p.output[0] * p.output[1] * p.output[2];
}

// Launches kernel(problem) with enough blocks, each of which goes on where a grid cannot hold them all.
template <typename Kernel>
cudaError_t launchOutputs(Kernel kernel, const PassProblem& p, cudaStream_t stream) {
    constexpr int64_t kMostBlocks = 1 << 20;
    const int64_t blocks = std::min(kMostBlocks, ceilDivide<int64_t>(outputCount(p), kPassThreads));
    return launch(kernel, dim3(static_cast<unsigned>(blocks)), kPassThreads, 0, stream, p);
}

__device__ __forceinline__ int64_t firstOutput() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64_t outputStep() {
    return static_cast<int64_t>(gridDim.x) * blockDim.x;
}

}  // namespace pconv::cuda
