#include "pad.h"

#include <algorithm>
#include <cstdint>

#include "kernel_support.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kMostRows = 65535;  // of a grid

// Threads run over the two axes that lie closest in the written side: channels and columns where the channels
// are innermost, else columns and rows. Blocks run over the others.
struct Grid {
    PaddingCopy copy;
    int64_t size[5];  // of the written side
    int64_t second_begin;
    unsigned dense_size, columns;
    int64_t rows;
};

struct Place {
    int64_t n, c, at[3];
};

template <bool channels_inside>
__device__ __forceinline__ Place placeOf(const Grid& g, unsigned x, int64_t row) {
    const unsigned dense = x % g.dense_size;
    const int64_t second = g.second_begin + x / g.dense_size;
    if (channels_inside) {
        const int64_t h = row % g.size[3];
        row /= g.size[3];
        return {row / g.size[2], dense, {row % g.size[2], h, second}};
    }
    const int64_t d = row % g.size[2];
    row /= g.size[2];
    return {row / g.size[1], row % g.size[1], {d, second, dense}};
}

__device__ __forceinline__ int64_t offsetOf(const View& view, const Place& place) {
    return place.n * view.strides[0] + place.c * view.strides[1] + place.at[0] * view.strides[2] +
           place.at[1] * view.strides[3] + place.at[2] * view.strides[4];
}

__device__ __forceinline__ int64_t sourceOf(PaddingMode mode, int64_t at, int64_t size) {
    if (at >= 0 && at < size) return at;
    if (mode == PaddingMode::replicate) return at < 0 ? 0 : size - 1;
    if (mode == PaddingMode::circular) return at < 0 ? at + size : at - size;
    return at < 0 ? -at : 2 * (size - 1) - at;
}

template <typename T, bool channels_inside>
__global__ void pad(Grid g) {
    const unsigned x = blockIdx.x * blockDim.x + threadIdx.x;
    if (x >= g.columns) return;
    for (int64_t row = blockIdx.y; row < g.rows; row += gridDim.y) {
        const Place to = placeOf<channels_inside>(g, x, row);
        Place from = to;
        for (int d = 0; d < 3; ++d)
            from.at[d] = sourceOf(g.copy.mode, to.at[d] - g.copy.begin[d], g.copy.dims[2 + d]);
        static_cast<T*>(g.copy.padded.data)[offsetOf(g.copy.padded, to)] =
            static_cast<const T*>(g.copy.plain.data)[offsetOf(g.copy.plain, from)];
    }
}

// What an element became along one axis: itself, then the images in front, then those behind.
struct Images {
    int64_t itself, front, front_count, back, back_count;

    __device__ __forceinline__ int64_t count() const { return 1 + front_count + back_count; }
    __device__ __forceinline__ int64_t operator[](int64_t i) const {
        if (i == 0) return itself;
        return i <= front_count ? front + i - 1 : back + i - 1 - front_count;
    }
};

__device__ __forceinline__ Images imagesOf(const PaddingCopy& copy, int axis, int64_t at) {
    const int64_t size = copy.dims[2 + axis];
    const int64_t begin = copy.begin[axis];
    const int64_t end = copy.end[axis];
    const int64_t last = size - 1 - at;
    if (copy.mode == PaddingMode::replicate)
        return {begin + at, 0, at == 0 ? begin : 0, begin + size, last == 0 ? end : 0};
    const bool reflect = copy.mode == PaddingMode::reflect;
    const int64_t in_front = reflect ? at : last + 1;
    const int64_t behind = reflect ? last : at + 1;
    return {begin + at, begin - in_front, in_front >= 1 && in_front <= begin ? 1 : 0,
            begin + size - 1 + behind, behind >= 1 && behind <= end ? 1 : 0};
}

template <typename T, bool channels_inside>
__global__ void foldPadding(Grid g, bool accumulate) {
    const unsigned x = blockIdx.x * blockDim.x + threadIdx.x;
    if (x >= g.columns) return;
    const View& padded = g.copy.padded;
    for (int64_t row = blockIdx.y; row < g.rows; row += gridDim.y) {
        const Place to = placeOf<channels_inside>(g, x, row);
        const Images in_d = imagesOf(g.copy, 0, to.at[0]);
        const Images in_h = imagesOf(g.copy, 1, to.at[1]);
        const Images in_w = imagesOf(g.copy, 2, to.at[2]);
        float sum = 0;
        for (int64_t d = 0; d < in_d.count(); ++d)
            for (int64_t h = 0; h < in_h.count(); ++h)
                for (int64_t w = 0; w < in_w.count(); ++w)
                    sum += toFloat(static_cast<const T*>(
                        padded.data)[offsetOf(padded, {to.n, to.c, {in_d[d], in_h[h], in_w[w]}})]);
        storeResult(static_cast<T*>(g.copy.plain.data) + offsetOf(g.copy.plain, to), sum, accumulate);
    }
}

// Calls start(grid, blocks, channels inside) for each launch over a written side of `size`.
template <typename Start>
cudaError_t overGrid(const PaddingCopy& copy, const View& written, const int64_t (&size)[5],
                     const Start& start) {
    Grid g{};
    g.copy = copy;
    std::copy(size, size + 5, g.size);
    const bool inside = written.strides[1] == 1 && size[1] > 1;
    const int64_t second = inside ? size[4] : size[3];
    g.dense_size = static_cast<unsigned>(inside ? size[1] : size[4]);
    g.rows = size[0] * size[2] * (inside ? size[3] : size[1]);
    // A launch takes as much of the second axis as 32 bits count.
    const int64_t step = std::max<int64_t>(1, INT32_MAX / g.dense_size);
    for (g.second_begin = 0; g.second_begin < second; g.second_begin += step) {
        g.columns = g.dense_size * static_cast<unsigned>(std::min(step, second - g.second_begin));
        const dim3 blocks(ceilDivide(g.columns, kThreads),
                          static_cast<unsigned>(std::min(g.rows, kMostRows)));
        const cudaError_t status = start(g, blocks, inside);
        if (status != cudaSuccess) return status;
    }
    return cudaSuccess;
}

template <typename T>
cudaError_t padElements(const PaddingCopy& copy, const int64_t (&size)[5], cudaStream_t stream) {
    return overGrid(copy, copy.padded, size, [&](const Grid& g, dim3 blocks, bool inside) {
        return inside ? launch(pad<T, true>, blocks, kThreads, 0, stream, g)
                      : launch(pad<T, false>, blocks, kThreads, 0, stream, g);
    });
}

}  // namespace

cudaError_t launchPad(const PaddingCopy& copy, cudaStream_t stream) {
    int64_t size[5];
    for (int d = 0; d < 5; ++d) size[d] = copy.dims[d] + (d >= 2 ? copy.begin[d - 2] + copy.end[d - 2] : 0);
    const size_t bytes = sizeOf(copy.type);
    if (bytes == 1) return padElements<uint8_t>(copy, size, stream);
    if (bytes == 2) return padElements<uint16_t>(copy, size, stream);
    return padElements<uint32_t>(copy, size, stream);
}

cudaError_t launchFoldPadding(const PaddingCopy& copy, bool accumulate, cudaStream_t stream) {
    return withElement(copy.type, [&](auto element) {
        using T = decltype(element);
        return overGrid(copy, copy.plain, copy.dims, [&](const Grid& g, dim3 blocks, bool inside) {
            return inside ? launch(foldPadding<T, true>, blocks, kThreads, 0, stream, g, accumulate)
                          : launch(foldPadding<T, false>, blocks, kThreads, 0, stream, g, accumulate);
        });
    });
}

}  // namespace pconv::cuda
