// The formulas of the passes of networks, in double.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "backend.h"

namespace pconv::test {

using Dims = std::array<int64_t, 5>;

struct Values {
    Dims dims{};
    std::vector<double> values;
    double at(const Dims& p) const {
        int64_t i = 0;
        for (size_t d = 0; d < 5; ++d) i = i * dims[d] + p[d];
        return values[static_cast<size_t>(i)];
    }
};

inline Dims outputDims(const PassDesc& desc) {
    const Dims3& o = desc.window.output;
    return {desc.batch, desc.channels, o[0], o[1], o[2]};
}

inline double activated(const PassDesc& desc, double y) {
    switch (desc.activation) {
        case Activation::none:
            return y;
        case Activation::relu:
            return y < 0 ? 0 : y;
        case Activation::leaky_relu:
            return y < 0 ? static_cast<double>(desc.negative_slope) * y : y;
        case Activation::gelu:
            return y * std::erfc(-y / std::sqrt(2.0)) / 2;
        case Activation::sigmoid:
            return 1 / (1 + std::exp(-y));
    }
    return y;
}

inline double pooled(const PassDesc& desc, const Values& x, const Dims& o) {
    const Window& w = desc.window;
    double most = -INFINITY;
    double sum = 0;
    int64_t inside = 0;
    for (int64_t i = 0; i < w.kernel[0]; ++i)
        for (int64_t j = 0; j < w.kernel[1]; ++j)
            for (int64_t k = 0; k < w.kernel[2]; ++k) {
                const Dims p{o[0], o[1], o[2] * w.stride[0] - w.padding[0] + i,
                             o[3] * w.stride[1] - w.padding[1] + j, o[4] * w.stride[2] - w.padding[2] + k};
                bool in = true;
                for (size_t d = 0; d < 3; ++d) in = in && p[2 + d] >= 0 && p[2 + d] < w.input[d];
                if (!in) continue;
                ++inside;
                most = std::max(most, x.at(p));
                sum += x.at(p);
            }
    if (desc.kind == PassKind::max_pool) return most;
    return sum / static_cast<double>(desc.inside_only ? inside : volume(w.kernel));
}

inline double interpolated(const PassDesc& desc, const Values& x, const Dims& o) {
    int64_t first[3];
    double weight[3];
    for (size_t d = 0; d < 3; ++d) {
        const auto in = static_cast<double>(desc.window.input[d]);
        const auto out = static_cast<double>(desc.window.output[d]);
        const auto at = static_cast<double>(o[2 + d]);
        double place = std::max(0.0, (at + 0.5) * in / out - 0.5);
        if (desc.align_corners) place = out > 1 ? at * (in - 1) / (out - 1) : 0;
        first[d] = std::min(static_cast<int64_t>(place), desc.window.input[d] - 1);
        weight[d] = place - static_cast<double>(first[d]);
    }
    double y = 0;
    for (int corner = 0; corner < 8; ++corner) {
        double share = 1;
        Dims p{o[0], o[1], 0, 0, 0};
        for (size_t d = 0; d < 3; ++d) {
            const bool far = (corner >> d & 1) != 0;
            share *= far ? weight[d] : 1 - weight[d];
            p[2 + d] = std::min(first[d] + (far ? 1 : 0), desc.window.input[d] - 1);
        }
        y += share * x.at(p);
    }
    return y;
}

inline double pointwiseOf(const PassDesc& desc, double x, double scale, double shift, double added) {
    return activated(desc, x * scale + shift + added);
}

// Of the others, at output `o`.
inline double passOf(const PassDesc& desc, const Values& x, const Dims& o) {
    return desc.kind == PassKind::interpolate ? interpolated(desc, x, o) : pooled(desc, x, o);
}

}  // namespace pconv::test
