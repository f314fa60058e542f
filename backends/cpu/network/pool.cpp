// Max and average pooling.
#include <limits>

#include "cpu/network/network.h"

namespace pconv::cpu {

namespace {

struct Span {
    int64_t begin, end;
};

// The part of a window of output o that lies in the input.
Span inside(const Window& window, size_t d, int64_t o) {
    const int64_t begin = o * window.stride[d] - window.padding[d];
    return {std::max<int64_t>(0, begin), std::min(window.input[d], begin + window.kernel[d])};
}

// Accumulates over the window of every output: channels beside each other together, columns one by one.
template <typename Accumulator, typename Add, typename Finish>
void pool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands, Accumulator first,
          const Add& add, const Finish& finish) {
    const TensorRef& x = operands.input;
    const TensorRef& y = operands.output;
    const bool together = channelsInside(y, desc.channels) && channelsInside(x, desc.channels);
    forEachChunk(device.threads(), desc, together, [&](int64_t n, int64_t c, const Dims3& p, int64_t count) {
        float results[kChunk];
        const Span d = inside(desc.window, 0, p[0]);
        const Span h = inside(desc.window, 1, p[1]);
        if (together) {
            const Span w = inside(desc.window, 2, p[2]);
            Accumulator sums[kChunk];
            std::fill_n(sums, count, first);
            float values[kChunk];
            for (int64_t i = d.begin; i < d.end; ++i)
                for (int64_t j = h.begin; j < h.end; ++j)
                    for (int64_t k = w.begin; k < w.end; ++k) {
                        loadChunk(x, elementIndex(x, n, c, {i, j, k}), 1, count, values);
                        for (int64_t l = 0; l < count; ++l) sums[l] = add(sums[l], values[l]);
                    }
            const int64_t taps = (d.end - d.begin) * (h.end - h.begin) * (w.end - w.begin);
            for (int64_t l = 0; l < count; ++l) results[l] = finish(sums[l], taps);
        } else {
            for (int64_t l = 0; l < count; ++l) {
                const Span w = inside(desc.window, 2, p[2] + l);
                Accumulator sum = first;
                for (int64_t i = d.begin; i < d.end; ++i)
                    for (int64_t j = h.begin; j < h.end; ++j)
                        for (int64_t begin = w.begin; begin < w.end; begin += kChunk) {
                            float values[kChunk];
                            const int64_t some = std::min(kChunk, w.end - begin);
                            loadChunk(x, elementIndex(x, n, c, {i, j, begin}), x.strides[4], some, values);
                            for (int64_t k = 0; k < some; ++k) sum = add(sum, values[k]);
                        }
                results[l] = finish(sum, (d.end - d.begin) * (h.end - h.begin) * (w.end - w.begin));
            }
        }
        storeChunk(y, elementIndex(y, n, c, p), stepAlong(y, together), count, results);
    });
}

}  // namespace

void maxPool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands) {
    pool(
        device, desc, operands, -std::numeric_limits<float>::infinity(),
        [](float most, float value) { return value > most || value != value ? value : most; },
        [](float most, int64_t /*taps*/) { return most; });
}

void averagePool(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands) {
    const int64_t all = volume(desc.window.kernel);
    pool(
        device, desc, operands, 0.0, [](double sum, float value) { return sum + static_cast<double>(value); },
        [&](double sum, int64_t taps) {
            return static_cast<float>(sum / static_cast<double>(desc.inside_only ? taps : all));
        });
}

}  // namespace pconv::cpu
