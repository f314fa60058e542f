#include "upsample.h"

#include <algorithm>
#include <cstdint>

#include "launch.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;
constexpr int64_t kMostRows = 65535;  // of a grid

// A thread makes neighbouring elements along the dense axis, at one place of a second axis, for some rows:
// places of the three other axes. It writes them wherever the axes but the dense one repeat them.
struct Grid {
    const void* source;
    void* destination;
    int vectors, columns;  // along the dense axis; with the second axis
    int64_t rows, row_size[2];
    int64_t from_row[3], to_row[3];
    int64_t from_second, to_second;
    int64_t from_dense, to_dense;
    int dense_factor;
    int repeats[3];
    int64_t to_next[3];
};

template <typename T, int elements>
struct alignas(sizeof(T) * elements) Elements {
    T values[elements];
};

// `factor` is that of the dense axis, 0: any. More than one element at once lie side by side in the
// destination, and with factor 1 in the source.
template <typename T, int elements, int factor>
__device__ Elements<T, elements> loadElements(const Grid& g, const T* from, int vector) {
    using Several = Elements<T, elements>;
    if constexpr (factor == 1) {
        return reinterpret_cast<const Several*>(from)[vector];
    } else {
        Several several;
#pragma unroll
        for (int k = 0; k < elements; ++k) {
            const int at = (vector * elements + k) / (factor == 0 ? g.dense_factor : factor);
            several.values[k] = from[at * g.from_dense];
        }
        return several;
    }
}

template <typename T, int elements, int factor>
__global__ void upsample(Grid g) {
    const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (x >= g.columns) return;
    const int vector = x % g.vectors;
    const int second = x / g.vectors;
    for (int64_t row = blockIdx.y; row < g.rows; row += gridDim.y) {
        const int64_t a = row % g.row_size[0];
        const int64_t b = row / g.row_size[0] % g.row_size[1];
        const int64_t c = row / g.row_size[0] / g.row_size[1];
        const T* from = static_cast<const T*>(g.source) + a * g.from_row[0] + b * g.from_row[1] +
                        c * g.from_row[2] + second * g.from_second;
        T* to = static_cast<T*>(g.destination) + a * g.to_row[0] + b * g.to_row[1] + c * g.to_row[2] +
                second * g.to_second + vector * elements * g.to_dense;
        const auto several = loadElements<T, elements, factor>(g, from, vector);
        for (int d = 0; d < g.repeats[0]; ++d)
            for (int h = 0; h < g.repeats[1]; ++h)
                for (int w = 0; w < g.repeats[2]; ++w)
                    *reinterpret_cast<Elements<T, elements>*>(to + d * g.to_next[0] + h * g.to_next[1] +
                                                              w * g.to_next[2]) = several;
    }
}

// Whether `bytes` at a time can be moved along the dense axis: all places that a vector begins at lie so.
bool isAligned(const View& view, const int64_t* dims, int dense, int64_t dense_size, int64_t element,
               int64_t bytes) {
    bool aligned = view.strides[dense] == 1 && dense_size * element % bytes == 0 &&
                   reinterpret_cast<uintptr_t>(view.data) % static_cast<uintptr_t>(bytes) == 0;
    for (int d = 0; d < 5; ++d)
        if (d != dense && dims[d] > 1) aligned = aligned && view.strides[d] * element % bytes == 0;
    return aligned;
}

template <typename T>
cudaError_t launchElements(const Upsampling& u, cudaStream_t stream, int64_t most_dense) {
    constexpr int kSeveral = 16 / static_cast<int>(sizeof(T));
    const int64_t factor[5] = {1, 1, u.factor[0], u.factor[1], u.factor[2]};
    int64_t outputs[5];
    for (int d = 0; d < 5; ++d) outputs[d] = u.dims[d] * factor[d];
    const bool channels_inside = u.destination.strides[1] == 1 && u.dims[1] > 1;
    const int dense = channels_inside ? 1 : 4;
    const int second = channels_inside ? 4 : 3;
    const bool wide = isAligned(u.destination, outputs, dense, outputs[dense], sizeof(T), 16);
    const bool copies =
        wide && factor[dense] == 1 && isAligned(u.source, u.dims, dense, outputs[dense], sizeof(T), 16);
    const bool doubles = wide && factor[dense] == 2;
    const int elements = copies || doubles ? kSeveral : 1;

    Grid g{};
    g.rows = 1;
    g.from_dense = u.source.strides[dense];
    g.to_dense = u.destination.strides[dense];
    g.dense_factor = static_cast<int>(factor[dense]);
    int row = 0;
    for (int d = 4; d >= 0; --d) {
        if (d >= 2) {
            g.repeats[d - 2] = d == dense ? 1 : static_cast<int>(factor[d]);
            g.to_next[d - 2] = u.destination.strides[d];
        }
        if (d == dense) continue;
        const int64_t step = u.destination.strides[d] * factor[d];
        if (d == second) {
            g.from_second = u.source.strides[d];
            g.to_second = step;
            continue;
        }
        if (row < 2) g.row_size[row] = u.dims[d];
        g.rows *= u.dims[d];
        g.from_row[row] = u.source.strides[d];
        g.to_row[row] = step;
        ++row;
    }
    // A launch takes as much of the dense axis, in whole sources and vectors, and of the second axis as 32
    // bits count.
    const int64_t unit = factor[dense] * elements;
    const int64_t dense_step = std::max(unit, most_dense / unit * unit);
    for (int64_t first = 0; first < outputs[dense]; first += dense_step) {
        g.vectors = static_cast<int>(std::min(dense_step, outputs[dense] - first) / elements);
        const T* source = static_cast<const T*>(u.source.data) + first / factor[dense] * g.from_dense;
        T* destination = static_cast<T*>(u.destination.data) + first * g.to_dense;
        const int64_t step = std::max<int64_t>(1, INT32_MAX / g.vectors);
        for (int64_t begin = 0; begin < u.dims[second]; begin += step) {
            g.columns = g.vectors * static_cast<int>(std::min(step, u.dims[second] - begin));
            g.source = source + begin * g.from_second;
            g.destination = destination + begin * g.to_second;
            const dim3 blocks(static_cast<unsigned>(ceilDivide<int64_t>(g.columns, kThreads)),
                              static_cast<unsigned>(std::min(g.rows, kMostRows)));
            const cudaError_t status =
                copies    ? launch(upsample<T, kSeveral, 1>, blocks, kThreads, 0, stream, g)
                : doubles ? launch(upsample<T, kSeveral, 2>, blocks, kThreads, 0, stream, g)
                          : launch(upsample<T, 1, 0>, blocks, kThreads, 0, stream, g);
            if (status != cudaSuccess) return status;
        }
    }
    return cudaSuccess;
}

}  // namespace

cudaError_t launchUpsample(const Upsampling& upsampling, cudaStream_t stream, int64_t most_dense) {
    if (upsampling.element_bytes == 1) return launchElements<uint8_t>(upsampling, stream, most_dense);
    if (upsampling.element_bytes == 2) return launchElements<uint16_t>(upsampling, stream, most_dense);
    return launchElements<uint32_t>(upsampling, stream, most_dense);
}

}  // namespace pconv::cuda
