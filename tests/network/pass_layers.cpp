#include "network/pass_layers.h"

#include <algorithm>
#include <cmath>

namespace pconv::test {
namespace {

using Index = std::vector<int64_t>;

template <typename Body>
void forEach(const Index& size, const Body& body) {
    Index at(size.size());
    for (int64_t i = 0; i < product(size); ++i) {
        int64_t rest = i;
        for (size_t d = size.size(); d-- > 0;) {
            at[d] = rest % size[d];
            rest /= size[d];
        }
        body(at, i);
    }
}

int64_t flat(const Index& at, const Index& size) {
    int64_t i = 0;
    for (size_t d = 0; d < size.size(); ++d) i = i * size[d] + at[d];
    return i;
}

double activated(double y, const Problem& conv) {
    if (conv.activation == PCONV_ACTIVATION_GELU) return y * std::erfc(-y / std::sqrt(2.0)) / 2;
    if (y >= 0 || conv.activation == PCONV_ACTIVATION_NONE) return y;
    return conv.activation == PCONV_ACTIVATION_RELU ? 0 : static_cast<double>(conv.negative_slope) * y;
}

double valueOf(const std::vector<float>& values, int64_t i) {
    return static_cast<double>(values[static_cast<size_t>(i)]);
}

// Calls body(tap position) for the window's elements inside the input.
template <typename Body>
void forEachTap(const Problem& conv, const Index& o, const Index& input, const Body& body) {
    forEach(conv.kernel, [&](const Index& k, int64_t) {
        Index p(o);
        for (size_t d = 0; d < p.size(); ++d) {
            p[d] = o[d] * conv.stride[d] - conv.padding[d] + k[d];
            if (p[d] < 0 || p[d] >= input[d]) return;
        }
        body(p);
    });
}

// The mask of image n, channel c at a position; 1 where there is none.
double maskOf(const Feature& feature, int64_t n, int64_t c, int64_t position) {
    const int64_t plane = product(feature.size);
    for (const Segment& segment : feature.mask) {
        if (c >= segment.planes * segment.multiplicity) {
            c -= segment.planes * segment.multiplicity;
            continue;
        }
        const int64_t image = feature.mask_batch == 1 ? 0 : n;
        return valueOf(segment.values,
                       (image * segment.planes + c / segment.multiplicity) * plane + position);
    }
    return 1;
}

}  // namespace

std::vector<float> interpolated(const Feature& input, const Index& size, PconvInterpolation kind) {
    const int64_t from = product(input.size);
    const auto outer = static_cast<int64_t>(input.values.size()) / from;
    std::vector<float> result;
    for (int64_t c = 0; c < outer; ++c)
        forEach(size, [&](const Index& o, int64_t) {
            double y = 0;
            for (int64_t corner = 0; corner < int64_t{1} << size.size(); ++corner) {
                double share = 1;
                Index p(o);
                for (size_t d = 0; d < size.size(); ++d) {
                    const auto in = static_cast<double>(input.size[d]);
                    const auto out = static_cast<double>(size[d]);
                    double place = std::max(0.0, (static_cast<double>(o[d]) + 0.5) * in / out - 0.5);
                    if (kind == PCONV_INTERPOLATION_LINEAR_ALIGN_CORNERS)
                        place = out > 1 ? static_cast<double>(o[d]) * (in - 1) / (out - 1) : 0;
                    const int64_t first = std::min(static_cast<int64_t>(place), input.size[d] - 1);
                    const double weight = place - static_cast<double>(first);
                    const bool far = (corner >> d & 1) != 0;
                    share *= far ? weight : 1 - weight;
                    p[d] = std::min(first + (far ? 1 : 0), input.size[d] - 1);
                }
                if (share != 0) y += share * valueOf(input.values, c * from + flat(p, input.size));
            }
            result.push_back(static_cast<float>(y));
        });
    return result;
}

Feature transposed(const Feature& input, const NetworkLayer& layer, int64_t batch) {
    const Problem& conv = layer.conv;
    Feature output{conv.out_channels, input.size, {}, PCONV_MASK_TYPE_NONE, 1, {}, 0, false};
    for (size_t d = 0; d < input.size.size(); ++d)
        output.size[d] = (input.size[d] - 1) * conv.stride[d] - 2 * conv.padding[d] + conv.kernel[d] +
                         layer.output_padding[d];
    const int64_t plane = product(output.size);
    const int64_t taps = product(conv.kernel);
    const int64_t group_in = input.channels / conv.groups;
    const int64_t group_out = conv.out_channels / conv.groups;
    std::vector<double> sums(static_cast<size_t>(batch * conv.out_channels * plane));
    for (int64_t n = 0; n < batch; ++n)
        for (int64_t ci = 0; ci < input.channels; ++ci)
            forEach(input.size, [&](const Index& at, int64_t i) {
                const double x = valueOf(input.values, (n * input.channels + ci) * product(input.size) + i);
                forEach(conv.kernel, [&](const Index& k, int64_t tap) {
                    Index o(at);
                    for (size_t d = 0; d < o.size(); ++d) {
                        o[d] = at[d] * conv.stride[d] - conv.padding[d] + k[d];
                        if (o[d] < 0 || o[d] >= output.size[d]) return;
                    }
                    for (int64_t co = 0; co < group_out; ++co) {
                        const int64_t channel = ci / group_in * group_out + co;
                        sums[static_cast<size_t>((n * conv.out_channels + channel) * plane +
                                                 flat(o, output.size))] +=
                            x * valueOf(conv.weight, (ci * group_out + co) * taps + tap);
                    }
                });
            });
    for (size_t i = 0; i < sums.size(); ++i) {
        const auto channel = static_cast<size_t>(static_cast<int64_t>(i) / plane % conv.out_channels);
        const double bias = conv.has_bias ? static_cast<double>(conv.bias[channel]) : 0;
        output.values.push_back(static_cast<float>(activated(sums[i] + bias, conv)));
    }
    return output;
}

Feature added(const std::vector<const Feature*>& inputs, const NetworkLayer& layer, bool one_mask) {
    Feature result = *inputs[0];
    for (size_t i = 0; i < result.values.size(); ++i) {
        double sum = 0;
        for (const Feature* input : inputs) sum += static_cast<double>(input->values[i]);
        result.values[i] = static_cast<float>(activated(sum, layer.conv));
    }
    for (const Feature* input : inputs) result.zero_in_holes = result.zero_in_holes && input->zero_in_holes;
    if (one_mask) return result;
    const bool valid =
        std::any_of(inputs.begin(), inputs.end(), [](const Feature* input) { return input->mask.empty(); });
    if (valid) {
        result.mask.clear();
        result.mask_type = PCONV_MASK_TYPE_NONE;
        return result;
    }
    Segment& segment = result.mask[0];
    segment.multiplicity = result.channels;
    for (size_t i = 0; i < segment.values.size(); ++i) {
        double sum = 0;
        for (const Feature* input : inputs) sum += static_cast<double>(input->mask[0].values[i]);
        segment.values[i] = static_cast<float>(std::min(1.0, sum));
    }
    return result;
}

Feature pooled(const Feature& input, const NetworkLayer& layer) {
    const Problem& conv = layer.conv;
    Feature result = input;
    for (size_t d = 0; d < input.size.size(); ++d)
        result.size[d] = (input.size[d] + 2 * conv.padding[d] - conv.kernel[d]) / conv.stride[d] + 1;
    const int64_t from = product(input.size);
    const auto outer = [&](const std::vector<float>& values) {
        return static_cast<int64_t>(values.size()) / from;
    };
    const bool largest = layer.type == PCONV_LAYER_TYPE_MAX_POOL;
    result.values.clear();
    for (int64_t c = 0; c < outer(input.values); ++c)
        forEach(result.size, [&](const Index& o, int64_t) {
            double most = -INFINITY;
            double sum = 0;
            int64_t inside = 0;
            forEachTap(conv, o, input.size, [&](const Index& p) {
                const double x = valueOf(input.values, c * from + flat(p, input.size));
                most = std::max(most, x);
                sum += x;
                ++inside;
            });
            const int64_t count = layer.inside_only ? inside : product(conv.kernel);
            result.values.push_back(static_cast<float>(largest ? most : sum / static_cast<double>(count)));
        });
    if (!largest) result.zero_in_holes = false;
    if (!largest || layer.ignores_mask) {
        result.mask.clear();
        result.mask_type = PCONV_MASK_TYPE_NONE;
    }
    for (Segment& segment : result.mask) {
        const std::vector<float> before = segment.values;
        segment.values.clear();
        for (int64_t c = 0; c < outer(before); ++c)
            forEach(result.size, [&](const Index& o, int64_t) {
                double sum = 0;
                forEachTap(conv, o, input.size,
                           [&](const Index& p) { sum += valueOf(before, c * from + flat(p, input.size)); });
                segment.values.push_back(static_cast<float>(std::min(1.0, sum)));
            });
    }
    return result;
}

Feature scaled(const Feature& input, const NetworkLayer& layer, int64_t batch) {
    Feature result = input;
    const int64_t plane = product(input.size);
    const bool masks = layer.type == PCONV_LAYER_TYPE_BATCH_NORM && !layer.ignores_mask;
    for (int64_t n = 0; n < batch; ++n)
        for (int64_t c = 0; c < input.channels; ++c)
            for (int64_t i = 0; i < plane; ++i) {
                float& value = result.values[static_cast<size_t>((n * input.channels + c) * plane + i)];
                auto y = static_cast<double>(value);
                if (layer.type == PCONV_LAYER_TYPE_SIGMOID) {
                    value = static_cast<float>(1 / (1 + std::exp(-y)));
                    continue;
                }
                if (masks && maskOf(input, n, c, i) == 0) y = 0;
                if (!layer.scale.empty()) y *= valueOf(layer.scale, c);
                if (!layer.shift.empty()) y += valueOf(layer.shift, c);
                value = static_cast<float>(activated(y, layer.conv));
            }
    result.zero_in_holes =
        input.zero_in_holes && layer.type == PCONV_LAYER_TYPE_SCALE && layer.constant && layer.shift.empty();
    return result;
}

Feature cropped(const Feature& input, const NetworkLayer& layer, const Index& size) {
    Feature result = input;
    result.size = size;
    const auto cut = [&](const std::vector<float>& values) {
        std::vector<float> kept;
        const int64_t from = product(input.size);
        for (int64_t c = 0; c < static_cast<int64_t>(values.size()) / from; ++c)
            forEach(size, [&](const Index& o, int64_t) {
                Index p(o);
                for (size_t d = 0; d < p.size(); ++d) p[d] += layer.begin[d];
                kept.push_back(values[static_cast<size_t>(c * from + flat(p, input.size))]);
            });
        return kept;
    };
    result.values = cut(input.values);
    for (Segment& segment : result.mask) segment.values = cut(segment.values);
    return result;
}

Feature rounded(Feature feature, PconvDataType type) {
    for (float& value : feature.values) value = roundedTo(value, type);
    return feature;
}

}  // namespace pconv::test
