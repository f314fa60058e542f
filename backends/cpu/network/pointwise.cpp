// y = activation(x * scale[c] + shift[c] + added).
#include <cmath>

#include "cpu/network/network.h"

namespace pconv::cpu {

namespace {

float gelu(float y) {
    const auto wide = static_cast<double>(y);
    return static_cast<float>(wide * std::erfc(-wide / std::sqrt(2.0)) / 2);
}

void activateChunk(const PassDesc& desc, int64_t count, float* y) {
    switch (desc.activation) {
        case Activation::none:
            return;
        case Activation::relu:
            for (int64_t i = 0; i < count; ++i) y[i] = y[i] < 0 ? 0.0F : y[i];  // what is not a number stays
            return;
        case Activation::leaky_relu:
            for (int64_t i = 0; i < count; ++i) y[i] = y[i] < 0 ? desc.negative_slope * y[i] : y[i];
            return;
        case Activation::gelu:
            for (int64_t i = 0; i < count; ++i) y[i] = gelu(y[i]);
            return;
        case Activation::sigmoid:
            for (int64_t i = 0; i < count; ++i) y[i] = 1 / (1 + std::exp(-y[i]));
            return;
    }
}

}  // namespace

void pointwise(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands) {
    const TensorRef& x = operands.input;
    const TensorRef& y = operands.output;
    const bool inside = channelsInside(y, desc.channels);
    const float* scale = operands.scale.buffer ? pointer<float>(operands.scale) : nullptr;
    const float* shift = operands.shift.buffer ? pointer<float>(operands.shift) : nullptr;
    forEachChunk(device.threads(), desc, inside, [&](int64_t n, int64_t c, const Dims3& p, int64_t count) {
        float values[kChunk];
        loadChunk(x, elementIndex(x, n, c, p), stepAlong(x, inside), count, values);
        const int64_t next = inside ? 1 : 0;  // channel
        if (scale != nullptr)
            for (int64_t i = 0; i < count; ++i) values[i] *= scale[c + i * next];
        if (shift != nullptr)
            for (int64_t i = 0; i < count; ++i) values[i] += shift[c + i * next];
        if (operands.added.buffer) {
            const TensorRef& a = operands.added;
            float added[kChunk];
            loadChunk(a, elementIndex(a, n, c, p), stepAlong(a, inside), count, added);
            for (int64_t i = 0; i < count; ++i) values[i] += added[i];
        }
        activateChunk(desc, count, values);
        storeChunk(y, elementIndex(y, n, c, p), stepAlong(y, inside), count, values);
    });
}

}  // namespace pconv::cpu
