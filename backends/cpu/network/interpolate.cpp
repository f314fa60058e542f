// Linear interpolation, in as many dimensions as change.
#include <vector>

#include "cpu/network/network.h"

namespace pconv::cpu {

namespace {

// Between which elements of the input an output lies along one dimension.
struct Between {
    int64_t first, second;
    float weight;  // of the second
};

std::vector<Between> placesAlong(const PassDesc& desc, size_t d) {
    const int64_t input = desc.window.input[d];
    const int64_t output = desc.window.output[d];
    std::vector<Between> places(static_cast<size_t>(output));
    for (int64_t o = 0; o < output; ++o) {
        // In whole numbers: where an output lies would else be off by more than what lies there.
        int64_t at = 0;
        int64_t per = 1;
        if (!desc.align_corners) {
            at = std::max<int64_t>(0, (2 * o + 1) * input - output);
            per = 2 * output;
        } else if (output > 1) {
            at = o * (input - 1);
            per = output - 1;
        }
        const int64_t first = std::min(at / per, input - 1);
        places[static_cast<size_t>(o)] = {
            first, std::min(first + 1, input - 1),
            static_cast<float>(static_cast<double>(at - first * per) / static_cast<double>(per))};
    }
    return places;
}

}  // namespace

void interpolate(const CpuDevice& device, const PassDesc& desc, const PassOperands& operands) {
    const TensorRef& x = operands.input;
    const TensorRef& y = operands.output;
    const std::vector<Between> depth = placesAlong(desc, 0);
    const std::vector<Between> height = placesAlong(desc, 1);
    const std::vector<Between> width = placesAlong(desc, 2);
    const bool together = channelsInside(y, desc.channels) && channelsInside(x, desc.channels);
    forEachChunk(device.threads(), desc, together, [&](int64_t n, int64_t c, const Dims3& p, int64_t count) {
        float results[kChunk] = {};
        float values[kChunk];
        const Between& d = depth[static_cast<size_t>(p[0])];
        const Between& h = height[static_cast<size_t>(p[1])];
        for (int corner = 0; corner < 4; ++corner) {
            const bool far_d = corner / 2 != 0;
            const bool far_h = corner % 2 != 0;
            const float weight = (far_d ? d.weight : 1 - d.weight) * (far_h ? h.weight : 1 - h.weight);
            if (weight == 0) continue;
            const int64_t row =
                elementIndex(x, n, c, {far_d ? d.second : d.first, far_h ? h.second : h.first, 0});
            for (int far_w = 0; far_w < 2; ++far_w) {
                if (together) {
                    const Between& w = width[static_cast<size_t>(p[2])];
                    const float share = weight * (far_w != 0 ? w.weight : 1 - w.weight);
                    if (share == 0) continue;
                    loadChunk(x, row + (far_w != 0 ? w.second : w.first) * x.strides[4], 1, count, values);
                    for (int64_t i = 0; i < count; ++i) results[i] += share * values[i];
                    continue;
                }
                for (int64_t i = 0; i < count; ++i) {
                    const Between& w = width[static_cast<size_t>(p[2] + i)];
                    const float share = weight * (far_w != 0 ? w.weight : 1 - w.weight);
                    if (share == 0) continue;
                    loadChunk(x, row + (far_w != 0 ? w.second : w.first) * x.strides[4], 1, 1, values);
                    results[i] += share * values[0];
                }
            }
        }
        storeChunk(y, elementIndex(y, n, c, p), stepAlong(y, together), count, results);
    });
}

}  // namespace pconv::cpu
