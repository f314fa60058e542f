#include "network/network_oracle.h"

#include <algorithm>
#include <random>

#include "conformance/oracle.h"

namespace pconv::test {
namespace {

// [outer, S...] with every element repeated.
std::vector<float> repeated(const std::vector<float>& values, const std::vector<int64_t>& size,
                            const std::vector<int64_t>& factor) {
    std::vector<int64_t> large(size);
    for (size_t d = 0; d < size.size(); ++d) large[d] *= factor[d];
    const int64_t outer = static_cast<int64_t>(values.size()) / product(size);
    std::vector<float> result(static_cast<size_t>(outer * product(large)));
    for (size_t i = 0; i < result.size(); ++i) {
        auto rest = static_cast<int64_t>(i);
        int64_t from = 0;
        int64_t stride = 1;
        for (size_t d = size.size(); d-- > 0;) {
            from += rest % large[d] / factor[d] * stride;
            rest /= large[d];
            stride *= size[d];
        }
        result[i] = values[static_cast<size_t>(rest * stride + from)];
    }
    return result;
}

Feature upsampled(Feature feature, const std::vector<int64_t>& factor) {
    feature.values = repeated(feature.values, feature.size, factor);
    for (Segment& segment : feature.mask) segment.values = repeated(segment.values, feature.size, factor);
    for (size_t d = 0; d < factor.size(); ++d) feature.size[d] *= factor[d];
    return feature;
}

std::vector<Segment> masksOf(const Feature& feature, int64_t batch) {
    if (!feature.mask.empty()) return feature.mask;
    return {
        {1, feature.channels, std::vector<float>(static_cast<size_t>(batch * product(feature.size)), 1.0F)}};
}

Feature joined(const Feature& a, const Feature& b, int64_t batch) {
    Feature result = a;
    result.channels += b.channels;
    result.values.clear();
    const int64_t plane = product(a.size);
    for (int64_t n = 0; n < batch; ++n)
        for (const Feature* side : {&a, &b})
            result.values.insert(result.values.end(), side->values.begin() + n * side->channels * plane,
                                 side->values.begin() + (n + 1) * side->channels * plane);
    if (a.mask.empty() && b.mask.empty()) return result;
    result.mask_type = a.mask.empty() ? b.mask_type : a.mask_type;
    result.mask_batch = a.mask.empty() ? b.mask_batch : a.mask_batch;
    result.mask = masksOf(a, result.mask_batch);
    for (const Segment& segment : masksOf(b, result.mask_batch)) result.mask.push_back(segment);
    return result;
}

Feature convolved(const Feature& input, const NetworkLayer& layer, const NetworkProblem& network) {
    Problem problem = layer.conv;
    problem.batch = network.batch;
    problem.in_channels = input.channels;
    problem.size = input.size;
    problem.input = input.values;
    problem.data_type = network.data_type;
    problem.mask_batch = input.mask_batch;
    problem.mask_type = PCONV_MASK_TYPE_NONE;
    if (!layer.ignores_mask && !input.mask.empty()) {
        problem.mask_type = input.mask_type;
        problem.segments = input.mask;
        if (!problem.multi_channel) problem.segments[0].multiplicity = 1;
    }
    const Answer answer = solve(problem);
    Feature output{problem.out_channels, outputSize(problem), {}, PCONV_MASK_TYPE_NONE, 1, {}};
    for (const double y : answer.output)
        output.values.push_back(roundedTo(static_cast<float>(y), network.data_type));
    const bool valid =
        std::all_of(answer.updated_mask.begin(), answer.updated_mask.end(), [](double u) { return u == 1; });
    if (problem.segments.empty() && valid) return output;
    output.mask_type = problem.mask_type == PCONV_MASK_TYPE_FRACTIONAL || problem.isMaskedConv()
                           ? PCONV_MASK_TYPE_FRACTIONAL
                           : PCONV_MASK_TYPE_BINARY;
    output.mask_batch = answer.mask_batch;
    output.mask = {{answer.mask_groups, problem.out_channels / answer.mask_groups,
                    std::vector<float>(answer.updated_mask.begin(), answer.updated_mask.end())}};
    return output;
}

// ---- random networks
// ---------------------------------------------------------------------------------------

class Draw {
  public:
    explicit Draw(uint32_t seed) : engine_(seed) {}
    int64_t between(int64_t low, int64_t high) {
        return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
    }
    bool oneIn(int64_t n) { return between(1, n) == 1; }
    float value() { return static_cast<float>(between(-4096, 4096)) / 4096; }

  private:
    std::mt19937 engine_;
};

std::vector<float> drawMask(size_t count, bool fractional, Draw& draw) {
    std::vector<float> values(count);
    const int64_t holes = draw.between(0, 8);
    for (float& m : values) {
        m = draw.between(0, 9) < holes ? 0.0F : 1.0F;
        if (fractional && m > 0) m = static_cast<float>(draw.between(4, 16)) / 16;
    }
    return values;
}

void drawInput(NetworkProblem& p, Draw& draw) {
    const int64_t dims = draw.oneIn(5) ? 1 : draw.oneIn(3) ? 3 : 2;
    p.batch = draw.between(1, 2);
    p.input.channels = draw.between(1, 5);
    for (int64_t d = 0; d < dims; ++d) p.input.size.push_back(draw.between(3, dims == 3 ? 7 : 14));
    p.input.values.resize(static_cast<size_t>(p.batch * p.input.channels * product(p.input.size)));
    if (draw.oneIn(3)) p.layout = PCONV_LAYOUT_CHANNELS_LAST;
    for (float& x : p.input.values) x = draw.value();
    if (draw.oneIn(6)) return;
    p.input.mask_type = draw.oneIn(3) ? PCONV_MASK_TYPE_FRACTIONAL : PCONV_MASK_TYPE_BINARY;
    p.input.mask_batch = draw.oneIn(2) ? 1 : p.batch;
    const int64_t planes = draw.oneIn(3) ? p.input.channels : 1;
    if (draw.oneIn(2)) p.polarity = PCONV_MASK_HOLE_IS_ONE;
    p.input.mask = {{planes, p.input.channels / planes,
                     drawMask(static_cast<size_t>(p.input.mask_batch * planes * product(p.input.size)),
                              p.input.mask_type == PCONV_MASK_TYPE_FRACTIONAL, draw)}};
}

void drawSettings(Problem& conv, const Feature& input, Draw& draw) {
    const bool own_planes = input.mask.size() > 1 || (!input.mask.empty() && input.mask[0].planes > 1);
    conv.multi_channel = own_planes || draw.oneIn(3);
    conv.group_window = conv.multi_channel && draw.oneIn(2);
    if (draw.oneIn(4)) conv.normalization = PCONV_NORMALIZATION_MASK_SUM;
    conv.activation = static_cast<PconvActivation>(draw.between(0, 3));
    conv.has_bias = !draw.oneIn(4);
}

NetworkLayer drawConvolution(const Feature& input, Draw& draw) {
    NetworkLayer layer;
    Problem& conv = layer.conv;
    conv = Problem::ofDims(static_cast<int>(input.size.size()));
    conv.groups = draw.oneIn(3) ? input.channels : draw.oneIn(3) && input.channels % 2 == 0 ? 2 : 1;
    conv.in_channels = input.channels;
    conv.out_channels = conv.groups * draw.between(1, 3);
    for (size_t d = 0; d < input.size.size(); ++d) {
        conv.kernel[d] = draw.oneIn(3) ? 1 : 3;
        conv.stride[d] = draw.oneIn(4) ? 2 : 1;
        conv.padding[d] = conv.kernel[d] / 2 + (draw.oneIn(6) ? 1 : 0);
    }
    drawSettings(conv, input, draw);
    if (draw.oneIn(5)) {
        conv.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
        conv.multi_channel = true;
        conv.group_window = false;
    }
    layer.ignores_mask = draw.oneIn(6);
    conv.weight.resize(
        static_cast<size_t>(conv.out_channels * conv.in_channels / conv.groups * product(conv.kernel)));
    for (float& w : conv.weight) w = draw.value();
    if (conv.has_bias) conv.bias.resize(static_cast<size_t>(conv.out_channels));
    for (float& b : conv.bias) b = draw.value();
    return layer;
}

}  // namespace

std::vector<Feature> solve(const NetworkProblem& problem) {
    std::vector<Feature> features{problem.input};
    if (problem.polarity == PCONV_MASK_HOLE_IS_ONE)
        for (Segment& segment : features[0].mask)
            for (float& m : segment.values) m = 1 - m;
    for (const NetworkLayer& layer : problem.layers) {
        const Feature& input = features[static_cast<size_t>(layer.input)];
        Feature made = layer.type == PCONV_LAYER_TYPE_UPSAMPLE ? upsampled(input, layer.factor)
                       : layer.type == PCONV_LAYER_TYPE_CONCAT
                           ? joined(input, features[static_cast<size_t>(layer.second_input)], problem.batch)
                           : convolved(input, layer, problem);
        features.push_back(std::move(made));
    }
    return features;
}

NetworkProblem randomNetwork(uint32_t seed) {
    Draw draw(seed);
    NetworkProblem p;
    drawInput(p, draw);
    const auto count = static_cast<size_t>(draw.between(2, 6));
    while (p.layers.size() < count) {
        const std::vector<Feature> features = solve(p);
        const Feature& input = features.back();
        NetworkLayer layer;
        const int64_t kind = draw.between(0, 9);
        if (kind >= 8 && product(input.size) < 300) {
            layer.type = PCONV_LAYER_TYPE_UPSAMPLE;
            for (size_t d = 0; d < input.size.size(); ++d) layer.factor.push_back(draw.between(1, 3));
        } else if (kind >= 5) {
            // With any earlier feature that fits, be it the same one.
            std::vector<int> fitting;
            for (size_t i = 0; i < features.size(); ++i) {
                const Feature& other = features[i];
                const bool alike =
                    other.mask.empty() || input.mask.empty() ||
                    (other.mask_type == input.mask_type && other.mask_batch == input.mask_batch);
                if (other.size == input.size && alike) fitting.push_back(static_cast<int>(i));
            }
            layer.type = PCONV_LAYER_TYPE_CONCAT;
            layer.second_input =
                fitting[static_cast<size_t>(draw.between(0, static_cast<int64_t>(fitting.size()) - 1))];
        } else {
            layer = drawConvolution(input, draw);
        }
        layer.input = static_cast<int>(p.layers.size());
        if (layer.type == PCONV_LAYER_TYPE_CONCAT && draw.oneIn(2))
            std::swap(layer.input, layer.second_input);
        p.layers.push_back(std::move(layer));
    }
    return p;
}

}  // namespace pconv::test
