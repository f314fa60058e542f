// The passes of networks, a file each, and how they walk over tensors: in chunks of floats along the dense
// axis.
#pragma once

#include <algorithm>

#include "core/half.h"
#include "cpu/element.h"
#include "cpu/parallel.h"

namespace pconv::cpu {

void pointwise(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands);
void maxPool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands);
void averagePool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands);
void interpolate(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands);

constexpr int64_t kChunk = 256;

// `count` elements, `step` apart, as floats.
inline void loadChunk(const TensorRef& t, int64_t index, int64_t step, int64_t count, float* to) {
    if (t.data_type == DataType::f32) {
        const float* from = pointer<float>(t) + index;
        if (step == 1)
            std::copy_n(from, count, to);
        else
            for (int64_t i = 0; i < count; ++i) to[i] = from[i * step];
        return;
    }
    const uint16_t* from = pointer<uint16_t>(t) + index;
    if (t.data_type == DataType::f16)
        for (int64_t i = 0; i < count; ++i) to[i] = floatFromF16(from[i * step]);
    else
        for (int64_t i = 0; i < count; ++i) to[i] = floatFromBf16(from[i * step]);
}

inline void storeChunk(const TensorRef& t, int64_t index, int64_t step, int64_t count, const float* from) {
    if (t.data_type == DataType::f32) {
        float* to = pointer<float>(t) + index;
        if (step == 1)
            std::copy_n(from, count, to);
        else
            for (int64_t i = 0; i < count; ++i) to[i * step] = from[i];
        return;
    }
    uint16_t* to = pointer<uint16_t>(t) + index;
    if (t.data_type == DataType::f16)
        for (int64_t i = 0; i < count; ++i) to[i * step] = f16FromFloat(from[i]);
    else
        for (int64_t i = 0; i < count; ++i) to[i * step] = bf16FromFloat(from[i]);
}

// Whether channels lie beside each other, so that they are the axis to go along.
inline bool channelsInside(const TensorRef& t, int64_t channels) {
    return channels > 1 && t.strides[1] == 1;
}

// Calls body(n, c, p, count) for chunks of the output: `count` channels from c on at position p where
// channels lie inside, else `count` columns from p on of channel c.
template <typename Body>
void forEachChunk(const Threads& threads, const PassDesc& desc, bool channels_inside, const Body& body) {
    const Dims3& size = desc.window.output;
    const int64_t columns = channels_inside ? 1 : desc.channels;  // rows of one position of d and h
    const int64_t length = channels_inside ? desc.channels : size[2];
    const int64_t repeats = channels_inside ? size[2] : 1;
    const int64_t rows = desc.batch * columns * size[0] * size[1];
    constexpr int64_t kTask = 1 << 14;
    const int64_t step = std::max<int64_t>(1, kTask / (length * repeats));
    parallelFor(threads, (rows + step - 1) / step, [&](int /*thread*/, int64_t task) {
        for (int64_t row = task * step; row < std::min(rows, (task + 1) * step); ++row) {
            const int64_t h = row % size[1];
            const int64_t d = row / size[1] % size[0];
            const int64_t plane = row / size[1] / size[0];
            const int64_t n = plane / columns;
            for (int64_t w = 0; w < repeats; ++w)
                for (int64_t i = 0; i < length; i += kChunk) {
                    const int64_t count = std::min(kChunk, length - i);
                    if (channels_inside)
                        body(n, i, Dims3{d, h, w}, count);
                    else
                        body(n, plane % columns, Dims3{d, h, i}, count);
                }
        }
    });
}

// Along a chunk of a view.
inline int64_t stepAlong(const TensorRef& t, bool channels_inside) {
    return t.strides[channels_inside ? 1 : 4];
}

}  // namespace pconv::cpu
