#include "unpack_bits.h"

#include <cstdint>

#include "host_device.h"
#include "launch.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;

// A thread makes four bytes.
__global__ void unpackBits(BitUnpacking p, int64_t words_a_row, int64_t words) {
    int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= words) return;
    const int64_t word = i % words_a_row;
    i /= words_a_row;
    const int64_t h = i % p.dims[3];
    i /= p.dims[3];
    const int64_t d = i % p.dims[2];
    i /= p.dims[2];
    const int64_t plane = i % p.dims[1];
    const int64_t n = i / p.dims[1];
    const auto row = [&](const View& view) {
        return n * view.strides[0] + plane * view.strides[1] + d * view.strides[2] + h * view.strides[3];
    };
    const uint32_t bits =
        static_cast<const uint32_t*>(p.bits.data)[row(p.bits) / 32 + word / 8] >> (word % 8 * 4);
    static_cast<uint32_t*>(p.bytes.data)[row(p.bytes) / 4 + word] =
        (bits & 1U) | (bits & 2U) << 7 | (bits & 4U) << 14 | (bits & 8U) << 21;
}

}  // namespace

cudaError_t launchUnpackBits(const BitUnpacking& unpacking, cudaStream_t stream) {
    const int64_t words_a_row = ceilDivide(unpacking.dims[4], int64_t{4});
    const int64_t words =
        unpacking.dims[0] * unpacking.dims[1] * unpacking.dims[2] * unpacking.dims[3] * words_a_row;
    return launch(unpackBits, dim3(static_cast<unsigned>(ceilDivide(words, static_cast<int64_t>(kThreads)))),
                  kThreads, 0, stream, unpacking, words_a_row, words);
}

}  // namespace pconv::cuda
