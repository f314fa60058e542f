#include "strided_copy.h"

#include "elementwise.h"
#include "launch.cuh"
#include "ptx.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;

dim3 blocksFor(int64_t elements) {
    return dim3(static_cast<unsigned>(ceilDivide(elements, static_cast<int64_t>(kThreads))));
}

__device__ int64_t elementIndex() {
    return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

template <typename Source>
__global__ void expandPlanes(const Source* source, int64_t source_size, int64_t size, bool as_predicate,
                             float* destination) {
    const int64_t i = elementIndex();
    if (i >= size) return;
    const float value = source == nullptr ? 1.0F : static_cast<float>(source[i % source_size]);
    destination[i] = as_predicate && value != 0 ? 1 : value;
}

template <typename S, typename D>
__global__ void stridedCopy(StridedCopy p, int64_t size) {
    int64_t i = elementIndex();
    if (i >= size) return;
    // Channels change fastest: the side that cuDNN sees has them innermost.
    const int64_t c = i % p.dims[1];
    i /= p.dims[1];
    const int64_t w = i % p.dims[4];
    i /= p.dims[4];
    const int64_t h = i % p.dims[3];
    i /= p.dims[3];
    const int64_t d = i % p.dims[2];
    const int64_t row = i / p.dims[2];
    const auto at = [&](const View& view) {
        return row * view.strides[0] + c * view.strides[1] + d * view.strides[2] + h * view.strides[3] +
               w * view.strides[4];
    };
    float m = 1;
    if (p.mask.planes != nullptr) {
        const int64_t plane = (p.mask.batch == 1 ? 0 : row * p.mask.plane_count) + p.mask.plane_of_channel[c];
        const int64_t position = ((plane * p.dims[2] + d) * p.dims[3] + h) * p.dims[4] + w;
        m = p.mask.type == MaskType::binary
                ? static_cast<float>(static_cast<const uint8_t*>(p.mask.planes)[position])
                : static_cast<const float*>(p.mask.planes)[position];
        if (p.as_predicate && m != 0) m = 1;
    }
    const float value =
        m == 0 ? 0 : elementwise::masked(toFloat(static_cast<const S*>(p.source.data)[at(p.source)]), m);
    D& to = static_cast<D*>(p.destination.data)[at(p.destination)];
    setFloat(to, p.accumulate ? toFloat(to) + value : value);
}

}  // namespace

cudaError_t launchExpandPlanes(const void* source, bool source_is_u8, int source_batch, int batch,
                               int64_t plane_volume, bool as_predicate, float* destination,
                               cudaStream_t stream) {
    const int64_t size = batch * plane_volume;
    const int64_t source_size = source_batch * plane_volume;
    if (source_is_u8)
        return launch(expandPlanes<uint8_t>, blocksFor(size), kThreads, 0, stream,
                      static_cast<const uint8_t*>(source), source_size, size, as_predicate, destination);
    return launch(expandPlanes<float>, blocksFor(size), kThreads, 0, stream,
                  static_cast<const float*>(source), source_size, size, as_predicate, destination);
}

cudaError_t launchStridedCopy(const StridedCopy& copy, cudaStream_t stream) {
    int64_t size = 1;
    for (const int64_t d : copy.dims) size *= d;
    const dim3 blocks = blocksFor(size);
    const auto with = [&](auto source, auto destination) {
        return launch(stridedCopy<decltype(source), decltype(destination)>, blocks, kThreads, 0, stream, copy,
                      size);
    };
    const auto from = [&](auto source) {
        if (copy.destination_type == DataType::f16) return with(source, F16{});
        if (copy.destination_type == DataType::bf16) return with(source, Bf16{});
        return with(source, float{});
    };
    if (copy.source_type == DataType::f16) return from(F16{});
    if (copy.source_type == DataType::bf16) return from(Bf16{});
    return from(float{});
}

}  // namespace pconv::cuda
