// Nearest upsampling.
#include <algorithm>
#include <cstring>

#include "cpu/element.h"
#include "cpu/parallel.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kTaskBytes = int64_t{1} << 16;

struct Upsampling {
    const TensorRef& source;
    const TensorRef& destination;
    const std::array<int64_t, 5>& dims;
    const Dims3& factor;
};

// One row of one channel.
template <typename T>
void repeatRow(const T* __restrict from, T* __restrict to, int64_t size, int64_t factor) {
    if (factor == 1) {
        std::memcpy(to, from, static_cast<size_t>(size) * sizeof(T));
    } else if (factor == 2) {
        for (int64_t i = 0; i < size; ++i) to[2 * i] = to[2 * i + 1] = from[i];
    } else {
        for (int64_t i = 0; i < size; ++i)
            for (int64_t k = 0; k < factor; ++k) to[i * factor + k] = from[i];
    }
}

// The rows of the output that repeat row h of a channel's plane d: factor[1] of them.
template <typename T>
void repeatChannel(const Upsampling& u, int64_t n, int64_t c, int64_t d, int64_t h) {
    const T* from = pointer<T>(u.source) + elementIndex(u.source, n, c, {d / u.factor[0], h, 0});
    const int64_t from_step = u.source.strides[4];
    const int64_t to_step = u.destination.strides[4];
    for (int64_t row = h * u.factor[1]; row < (h + 1) * u.factor[1]; ++row) {
        T* to = pointer<T>(u.destination) + elementIndex(u.destination, n, c, {d, row, 0});
        if (from_step == 1 && to_step == 1) {
            repeatRow(from, to, u.dims[4], u.factor[2]);
            continue;
        }
        for (int64_t i = 0; i < u.dims[4]; ++i)
            for (int64_t k = 0; k < u.factor[2]; ++k)
                to[(i * u.factor[2] + k) * to_step] = from[i * from_step];
    }
}

// The same of all channels, which lie beside each other.
template <typename T>
void repeatPixels(const Upsampling& u, int64_t n, int64_t d, int64_t h) {
    const T* from = pointer<T>(u.source) + elementIndex(u.source, n, 0, {d / u.factor[0], h, 0});
    const size_t bytes = static_cast<size_t>(u.dims[1]) * sizeof(T);
    for (int64_t row = h * u.factor[1]; row < (h + 1) * u.factor[1]; ++row) {
        T* to = pointer<T>(u.destination) + elementIndex(u.destination, n, 0, {d, row, 0});
        for (int64_t i = 0; i < u.dims[4]; ++i)
            for (int64_t k = 0; k < u.factor[2]; ++k)
                std::memcpy(to + (i * u.factor[2] + k) * u.destination.strides[4],
                            from + i * u.source.strides[4], bytes);
    }
}

template <typename T>
void upsampleElements(const Threads& threads, const Upsampling& u) {
    const bool pixels = u.dims[1] > 1 && u.source.strides[1] == 1 && u.destination.strides[1] == 1;
    const int64_t channels = pixels ? 1 : u.dims[1];
    const int64_t depth = u.dims[2] * u.factor[0];
    const int64_t rows = u.dims[0] * channels * depth * u.dims[3];
    const int64_t row_bytes =
        (pixels ? u.dims[1] : 1) * u.dims[4] * u.factor[2] * u.factor[1] * static_cast<int64_t>(sizeof(T));
    const int64_t step = std::max<int64_t>(1, kTaskBytes / row_bytes);
    parallelFor(threads, (rows + step - 1) / step, [&](int /*thread*/, int64_t task) {
        for (int64_t row = task * step; row < std::min(rows, (task + 1) * step); ++row) {
            const int64_t h = row % u.dims[3];
            const int64_t d = row / u.dims[3] % depth;
            const int64_t plane = row / u.dims[3] / depth;
            if (pixels)
                repeatPixels<T>(u, plane, d, h);
            else
                repeatChannel<T>(u, plane / channels, plane % channels, d, h);
        }
    });
}

}  // namespace

void CpuDevice::upsample(const TensorRef& source, const TensorRef& destination,
                         const std::array<int64_t, 5>& dims, const Dims3& factor) {
    const Upsampling u{source, destination, dims, factor};
    switch (source.data_type) {
        case DataType::f32:
            return upsampleElements<uint32_t>(threads_, u);
        case DataType::f16:
        case DataType::bf16:
            return upsampleElements<uint16_t>(threads_, u);
        case DataType::u8:
            return upsampleElements<uint8_t>(threads_, u);
        case DataType::bits:
            break;  // the core lets none through
    }
}

}  // namespace pconv::cpu
