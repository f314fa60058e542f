// Padding with elements of the input, and the sum of what they became.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/padding.h"
#include "cpu/element.h"
#include "cpu/parallel.h"

namespace pconv::cpu {

namespace {

constexpr int64_t kTaskBytes = int64_t{1} << 16;

// The larger side of either operation is `padded`, the other, of `dims`, `plain`.
struct Sides {
    const TensorRef& plain;
    const TensorRef& padded;
    const std::array<int64_t, 5>& dims;
    const Padding& padding;

    Dims3 size() const { return {dims[2], dims[3], dims[4]}; }
    int64_t sourceOf(size_t axis, int64_t at) const {
        return paddedSource(padding.mode, at - padding.begin[axis], dims[2 + axis]);
    }
    // Whether the channels of a pixel lie beside each other on both sides.
    bool pixels() const { return dims[1] > 1 && plain.strides[1] == 1 && padded.strides[1] == 1; }
};

// Calls body(n, c, d, h) for the rows of one side, of `size`; c is 0 where a row is of whole pixels.
template <typename Body>
void forEachRow(const Threads& threads, const Sides& sides, const Dims3& size, int64_t element_bytes,
                const Body& body) {
    const int64_t channels = sides.pixels() ? 1 : sides.dims[1];
    const int64_t rows = sides.dims[0] * channels * size[0] * size[1];
    const int64_t row_bytes = sides.dims[1] / channels * size[2] * element_bytes;
    const int64_t step = std::max<int64_t>(1, kTaskBytes / row_bytes);
    parallelFor(threads, (rows + step - 1) / step, [&](int /*thread*/, int64_t task) {
        for (int64_t row = task * step; row < std::min(rows, (task + 1) * step); ++row) {
            const int64_t plane = row / size[1] / size[0];
            body(plane / channels, plane % channels, row / size[1] % size[0], row % size[1]);
        }
    });
}

// One row of pixels of `count` elements, or of elements alone.
template <typename T>
void padRow(const Sides& s, const T* from, T* to, int64_t count) {
    const int64_t from_step = s.plain.strides[4];
    const int64_t to_step = s.padded.strides[4];
    const int64_t begin = s.padding.begin[2];
    const int64_t size = s.dims[4];
    const int64_t end = begin + size + s.padding.end[2];
    const auto copy = [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
            const T* pixel = from + s.sourceOf(2, i) * from_step;
            if (count == 1)
                to[i * to_step] = *pixel;
            else
                std::memcpy(to + i * to_step, pixel, static_cast<size_t>(count) * sizeof(T));
        }
    };
    copy(0, begin);
    if (from_step == count && to_step == count)
        std::memcpy(to + begin * to_step, from, static_cast<size_t>(size * count) * sizeof(T));
    else
        copy(begin, begin + size);
    copy(begin + size, end);
}

template <typename T>
void padElements(const Threads& threads, const Sides& s) {
    const int64_t count = s.pixels() ? s.dims[1] : 1;
    forEachRow(threads, s, paddedSize(s.size(), s.padding), sizeof(T),
               [&](int64_t n, int64_t c, int64_t d, int64_t h) {
                   const T* from = pointer<T>(s.plain) +
                                   elementIndex(s.plain, n, c, {s.sourceOf(0, d), s.sourceOf(1, h), 0});
                   padRow(s, from, pointer<T>(s.padded) + elementIndex(s.padded, n, c, {d, h, 0}), count);
               });
}

struct Single {
    using Stored = float;
    static float load(float value) { return value; }
    static float store(float value) { return value; }
};
struct Half {
    using Stored = uint16_t;
    static float load(uint16_t value) { return floatFromF16(value); }
    static uint16_t store(float value) { return f16FromFloat(value); }
};
struct Brain {
    using Stored = uint16_t;
    static float load(uint16_t value) { return floatFromBf16(value); }
    static uint16_t store(float value) { return bf16FromFloat(value); }
};

// Adds every image of a row's pixels, in the rows that are images of the row.
template <typename Type>
void sumImages(const Sides& s, float* sums, int64_t n, int64_t c, int64_t d, int64_t h, int64_t count) {
    using T = typename Type::Stored;
    const int64_t step = s.padded.strides[4];
    const int64_t begin = s.padding.begin[2];
    const int64_t size = s.dims[4];
    forEachImage(s.padding, 0, d, s.dims[2], [&](int64_t image_d) {
        forEachImage(s.padding, 1, h, s.dims[3], [&](int64_t image_h) {
            const T* from = pointer<T>(s.padded) + elementIndex(s.padded, n, c, {image_d, image_h, 0});
            const auto add = [&](int64_t i, int64_t to) {
                for (int64_t k = 0; k < count; ++k) sums[to * count + k] += Type::load(from[i * step + k]);
            };
            for (int64_t i = 0; i < begin; ++i) add(i, s.sourceOf(2, i));
            if (step == count)
                for (int64_t i = 0; i < size * count; ++i) sums[i] += Type::load(from[begin * step + i]);
            else
                for (int64_t i = 0; i < size; ++i) add(begin + i, i);
            for (int64_t i = begin + size; i < begin + size + s.padding.end[2]; ++i) add(i, s.sourceOf(2, i));
        });
    });
}

template <typename Type>
void foldElements(const Threads& threads, const Sides& s, bool accumulate) {
    using T = typename Type::Stored;
    const int64_t count = s.pixels() ? s.dims[1] : 1;
    const int64_t step = s.plain.strides[4];
    forEachRow(threads, s, s.size(), sizeof(T), [&](int64_t n, int64_t c, int64_t d, int64_t h) {
        std::vector<float> sums(static_cast<size_t>(s.dims[4] * count), 0.0F);
        sumImages<Type>(s, sums.data(), n, c, d, h, count);
        T* to = pointer<T>(s.plain) + elementIndex(s.plain, n, c, {d, h, 0});
        for (int64_t i = 0; i < s.dims[4]; ++i)
            for (int64_t k = 0; k < count; ++k) {
                T& element = to[i * step + k];
                const float sum = sums[static_cast<size_t>(i * count + k)];
                element = Type::store(accumulate ? Type::load(element) + sum : sum);
            }
    });
}

}  // namespace

void CpuDevice::pad(const TensorRef& source, const TensorRef& destination, const std::array<int64_t, 5>& dims,
                    const Padding& padding) {
    const Sides sides{source, destination, dims, padding};
    switch (source.data_type) {
        case DataType::f32:
            return padElements<uint32_t>(threads_, sides);
        case DataType::f16:
        case DataType::bf16:
            return padElements<uint16_t>(threads_, sides);
        case DataType::u8:
            return padElements<uint8_t>(threads_, sides);
        case DataType::bits:
            break;  // the core lets none through
    }
}

void CpuDevice::foldPadding(const TensorRef& source, const TensorRef& destination,
                            const std::array<int64_t, 5>& dims, const Padding& padding, bool accumulate) {
    const Sides sides{destination, source, dims, padding};
    switch (source.data_type) {
        case DataType::f32:
            return foldElements<Single>(threads_, sides, accumulate);
        case DataType::f16:
            return foldElements<Half>(threads_, sides, accumulate);
        case DataType::bf16:
            return foldElements<Brain>(threads_, sides, accumulate);
        case DataType::u8:
        case DataType::bits:
            break;  // the core lets none through
    }
}

}  // namespace pconv::cpu
