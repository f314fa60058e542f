#include "network/network_oracle.h"

#include <algorithm>
#include <random>

#include "conformance/oracle.h"
#include "network/pass_layers.h"

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

Feature upsampled(const Feature& input, const NetworkLayer& layer) {
    Feature feature = input;
    for (size_t d = 0; d < layer.factor.size(); ++d) feature.size[d] *= layer.factor[d];
    feature.values = layer.interpolation == PCONV_INTERPOLATION_NEAREST
                         ? repeated(input.values, input.size, layer.factor)
                         : interpolated(input, feature.size, layer.interpolation);
    for (Segment& segment : feature.mask) segment.values = repeated(segment.values, input.size, layer.factor);
    if (layer.interpolation != PCONV_INTERPOLATION_NEAREST) feature.zero_in_holes = false;
    return feature;
}

std::vector<Segment> masksOf(const Feature& feature, int64_t batch) {
    if (!feature.mask.empty()) return feature.mask;
    return {
        {1, feature.channels, std::vector<float>(static_cast<size_t>(batch * product(feature.size)), 1.0F)}};
}

Feature joined(const Feature& a, const Feature& b, int64_t batch) {
    Feature result = a;
    result.zero_in_holes = a.zero_in_holes && b.zero_in_holes;
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
    Feature output{problem.out_channels, outputSize(problem), {}, PCONV_MASK_TYPE_NONE, 1, {}, 0, true};
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

// Another mode, and more behind than in front.
void drawPadding(Problem& conv, const Feature& input, Draw& draw) {
    for (const int64_t padding : conv.padding) conv.padding_end.push_back(padding + draw.between(0, 1));
    // A reflection needs the most input.
    bool room = true;
    for (size_t d = 0; d < input.size.size(); ++d) room = room && conv.padding_end[d] < input.size[d];
    if (room) conv.padding_mode = static_cast<PconvPaddingMode>(draw.between(0, 3));
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
    if (draw.oneIn(4)) drawPadding(conv, input, draw);
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

std::vector<const Feature*> inputsOf(const std::vector<Feature>& features, const NetworkLayer& layer) {
    std::vector<const Feature*> inputs{&features[static_cast<size_t>(layer.input)],
                                       &features[static_cast<size_t>(layer.second_input)]};
    for (const int32_t more : layer.more_inputs) inputs.push_back(&features[static_cast<size_t>(more)]);
    return inputs;
}

bool haveOneMask(const std::vector<Feature>& features, const NetworkLayer& layer) {
    bool one = true;
    for (const Feature* input : inputsOf(features, layer))
        one = one && input->mask_source == features[static_cast<size_t>(layer.input)].mask_source;
    return one;
}

bool keepsMask(PconvLayerType type) {
    return type == PCONV_LAYER_TYPE_BATCH_NORM || type == PCONV_LAYER_TYPE_SCALE ||
           type == PCONV_LAYER_TYPE_SIGMOID;
}

Feature made(const std::vector<Feature>& features, const NetworkLayer& layer, const NetworkProblem& problem) {
    const Feature& input = features[static_cast<size_t>(layer.input)];
    switch (layer.type) {
        case PCONV_LAYER_TYPE_PARTIAL_CONV:
        case PCONV_LAYER_TYPE_CONV:
        case PCONV_LAYER_TYPE_LINEAR:
            return convolved(input, layer, problem);
        case PCONV_LAYER_TYPE_UPSAMPLE:
            return rounded(upsampled(input, layer), problem.data_type);
        case PCONV_LAYER_TYPE_CONCAT: {
            Feature result = input;
            const auto inputs = inputsOf(features, layer);
            for (size_t i = 1; i < inputs.size(); ++i) result = joined(result, *inputs[i], problem.batch);
            return result;
        }
        case PCONV_LAYER_TYPE_TRANSPOSED_CONV:
            return rounded(transposed(input, layer, problem.batch), problem.data_type);
        case PCONV_LAYER_TYPE_ADD:
            return rounded(added(inputsOf(features, layer), layer, haveOneMask(features, layer)),
                           problem.data_type);
        case PCONV_LAYER_TYPE_AVERAGE_POOL:
            if (!layer.ignores_mask && !input.mask.empty()) return convolved(input, layer, problem);
            return rounded(pooled(input, layer), problem.data_type);
        case PCONV_LAYER_TYPE_MAX_POOL:
            return pooled(input, layer);
        case PCONV_LAYER_TYPE_BATCH_NORM:
        case PCONV_LAYER_TYPE_SCALE:
        case PCONV_LAYER_TYPE_SIGMOID:
            return rounded(scaled(input, layer, problem.batch), problem.data_type);
        case PCONV_LAYER_TYPE_CROP:
            return cropped(input, layer, features[static_cast<size_t>(layer.second_input)].size);
    }
    return input;
}

}  // namespace

bool hasWeights(const NetworkLayer& layer) {
    switch (layer.type) {
        case PCONV_LAYER_TYPE_PARTIAL_CONV:
        case PCONV_LAYER_TYPE_CONV:
        case PCONV_LAYER_TYPE_LINEAR:
        case PCONV_LAYER_TYPE_TRANSPOSED_CONV:
        case PCONV_LAYER_TYPE_BATCH_NORM:
            return true;
        case PCONV_LAYER_TYPE_SCALE:
            return !layer.constant;
        default:
            return false;
    }
}

std::vector<Feature> solve(const NetworkProblem& problem) {
    std::vector<Feature> features{problem.input};
    if (problem.polarity == PCONV_MASK_HOLE_IS_ONE)
        for (Segment& segment : features[0].mask)
            for (float& m : segment.values) m = 1 - m;
    for (const NetworkLayer& layer : problem.layers) {
        features.push_back(made(features, layer, problem));
        Feature& feature = features.back();
        const Feature& input = features[static_cast<size_t>(layer.input)];
        feature.mask_source = keepsMask(layer.type) || feature.mask.empty()
                                  ? input.mask_source
                                  : static_cast<int>(features.size());
        if (layer.type == PCONV_LAYER_TYPE_ADD && haveOneMask(features, layer))
            feature.mask_source = input.mask_source;
    }
    return features;
}

namespace {

void drawWeights(Problem& conv, int64_t elements, Draw& draw) {
    conv.weight.resize(static_cast<size_t>(elements));
    for (float& w : conv.weight) w = draw.value();
    conv.has_bias = !draw.oneIn(4);
    if (conv.has_bias) conv.bias.resize(static_cast<size_t>(conv.out_channels));
    for (float& b : conv.bias) b = draw.value();
}

// A convolution that knows no mask, a linear layer or a transposed convolution.
NetworkLayer drawMaskless(const Feature& input, Draw& draw) {
    NetworkLayer layer;
    Problem& conv = layer.conv;
    conv = Problem::ofDims(static_cast<int>(input.size.size()));
    conv.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    conv.multi_channel = true;
    layer.ignores_mask = true;
    conv.activation = static_cast<PconvActivation>(draw.between(0, 3));
    conv.in_channels = input.channels;
    const int64_t kind = product(input.size) * input.channels < 300 ? draw.between(0, 2) : draw.between(0, 1);
    if (kind == 2) {
        layer.type = PCONV_LAYER_TYPE_LINEAR;
        conv.out_channels = draw.between(1, 6);
        conv.kernel = input.size;
        drawWeights(conv, conv.out_channels * input.channels * product(input.size), draw);
        return layer;
    }
    conv.groups = draw.oneIn(3) ? input.channels : 1;
    conv.out_channels = conv.groups * draw.between(1, 3);
    layer.type = kind == 0 ? PCONV_LAYER_TYPE_CONV : PCONV_LAYER_TYPE_TRANSPOSED_CONV;
    for (size_t d = 0; d < input.size.size(); ++d) {
        conv.kernel[d] = draw.between(1, 4);
        conv.stride[d] = draw.between(1, 2);
        conv.padding[d] = (conv.kernel[d] - 1) / 2;
        layer.output_padding.push_back(conv.stride[d] > 1 && draw.oneIn(2) ? 1 : 0);
        if (kind == 0 && input.size[d] + 2 * conv.padding[d] < conv.kernel[d]) conv.kernel[d] = 1;
    }
    if (kind == 0 && draw.oneIn(4)) drawPadding(conv, input, draw);
    const int64_t across = kind == 0 ? conv.in_channels : conv.out_channels;
    const int64_t outer = kind == 0 ? conv.out_channels : conv.in_channels;
    drawWeights(conv, outer * across / conv.groups * product(conv.kernel), draw);
    return layer;
}

NetworkLayer drawPool(const Feature& input, Draw& draw) {
    NetworkLayer layer;
    Problem& conv = layer.conv;
    conv = Problem::ofDims(static_cast<int>(input.size.size()));
    const bool largest = input.mask.empty() || input.zero_in_holes ? draw.oneIn(2) : false;
    layer.type = largest ? PCONV_LAYER_TYPE_MAX_POOL : PCONV_LAYER_TYPE_AVERAGE_POOL;
    layer.inside_only = draw.oneIn(2);
    layer.ignores_mask = draw.oneIn(6);
    const bool global = draw.oneIn(6);
    for (size_t d = 0; d < input.size.size(); ++d) {
        conv.kernel[d] = global ? input.size[d] : std::min(input.size[d], draw.between(1, 3));
        conv.stride[d] = global ? 1 : draw.between(1, 2);
        conv.padding[d] = global ? 0 : draw.between(0, conv.kernel[d] / 2);
    }
    // In a masked input it is a partial convolution with weights of 1.
    conv.in_channels = conv.out_channels = conv.groups = input.channels;
    conv.multi_channel = input.mask.size() > 1 || (!input.mask.empty() && input.mask[0].planes > 1);
    conv.group_window = conv.multi_channel;
    conv.normalization = PCONV_NORMALIZATION_MASK_SUM;
    conv.has_bias = false;
    conv.weight.assign(static_cast<size_t>(input.channels * product(conv.kernel)), 1.0F);
    return layer;
}

NetworkLayer drawScale(const Feature& input, Draw& draw) {
    NetworkLayer layer;
    layer.conv = Problem::ofDims(static_cast<int>(input.size.size()));
    layer.conv.activation = static_cast<PconvActivation>(draw.between(0, 3));
    layer.type = draw.oneIn(3)   ? PCONV_LAYER_TYPE_SIGMOID
                 : draw.oneIn(2) ? PCONV_LAYER_TYPE_BATCH_NORM
                                 : PCONV_LAYER_TYPE_SCALE;
    if (layer.type == PCONV_LAYER_TYPE_SIGMOID) return layer;
    layer.ignores_mask = draw.oneIn(4);
    layer.constant = layer.type == PCONV_LAYER_TYPE_SCALE && draw.oneIn(2);
    const int64_t which = layer.constant ? draw.between(0, 2) : 2;
    for (int64_t c = 0; c < input.channels; ++c) {
        if (which != 0) layer.scale.push_back(draw.value() * 2);
        if (which != 1) layer.shift.push_back(draw.value());
    }
    return layer;
}

// Of all before that can be added to it.
bool drawAdd(const std::vector<Feature>& features, Draw& draw, NetworkLayer& layer) {
    const Feature& input = features.back();
    const auto own = [](const Feature& f) {
        return f.mask.empty() || (f.mask.size() == 1 && f.mask[0].planes == 1);
    };
    std::vector<int> fitting;
    for (size_t i = 0; i < features.size(); ++i) {
        const Feature& other = features[i];
        if (other.size != input.size || other.channels != input.channels) continue;
        const bool one = other.mask_source == input.mask_source;
        const bool masks = own(other) && own(input) && other.mask_type == input.mask_type &&
                           other.mask_batch == input.mask_batch && other.zero_in_holes && input.zero_in_holes;
        if (one || other.mask.empty() || input.mask.empty() || masks) fitting.push_back(static_cast<int>(i));
    }
    layer.type = PCONV_LAYER_TYPE_ADD;
    layer.conv = Problem::ofDims(static_cast<int>(input.size.size()));
    layer.conv.activation = static_cast<PconvActivation>(draw.between(0, 3));
    layer.second_input =
        fitting[static_cast<size_t>(draw.between(0, static_cast<int64_t>(fitting.size()) - 1))];
    if (draw.oneIn(3)) layer.more_inputs.push_back(layer.second_input);
    return true;
}

NetworkLayer drawUpsample(const Feature& input, Draw& draw) {
    NetworkLayer layer;
    layer.type = PCONV_LAYER_TYPE_UPSAMPLE;
    layer.interpolation = static_cast<PconvInterpolation>(draw.between(0, 2));
    for (size_t d = 0; d < input.size.size(); ++d) layer.factor.push_back(draw.between(1, 3));
    return layer;
}

NetworkLayer drawConcat(const std::vector<Feature>& features, Draw& draw) {
    const Feature& input = features.back();
    // With any earlier feature that fits, be it the same one.
    std::vector<int> fitting;
    for (size_t i = 0; i < features.size(); ++i) {
        const Feature& other = features[i];
        const bool alike = other.mask.empty() || input.mask.empty() ||
                           (other.mask_type == input.mask_type && other.mask_batch == input.mask_batch);
        if (other.size == input.size && alike) fitting.push_back(static_cast<int>(i));
    }
    NetworkLayer layer;
    layer.type = PCONV_LAYER_TYPE_CONCAT;
    const auto any = [&] {
        return fitting[static_cast<size_t>(draw.between(0, static_cast<int64_t>(fitting.size()) - 1))];
    };
    layer.second_input = any();
    if (!input.mask.empty() && draw.oneIn(3)) layer.more_inputs = {any(), any()};
    return layer;
}

// To the size of an earlier one.
bool drawCrop(const std::vector<Feature>& features, Draw& draw, NetworkLayer& layer) {
    const Feature& input = features.back();
    layer.type = PCONV_LAYER_TYPE_CROP;
    for (size_t i = 0; i < features.size(); ++i) {
        bool smaller = true;
        for (size_t d = 0; d < input.size.size(); ++d)
            smaller = smaller && features[i].size[d] <= input.size[d];
        if (!smaller) continue;
        layer.second_input = static_cast<int>(i);
        for (size_t d = 0; d < input.size.size(); ++d)
            layer.begin.push_back(draw.between(0, input.size[d] - features[i].size[d]));
        return true;
    }
    return false;
}

}  // namespace

NetworkProblem randomNetwork(uint32_t seed) {
    Draw draw(seed);
    NetworkProblem p;
    drawInput(p, draw);
    const auto count = static_cast<size_t>(draw.between(2, 7));
    while (p.layers.size() < count) {
        const std::vector<Feature> features = solve(p);
        const Feature& input = features.back();
        NetworkLayer layer;
        const int64_t kind = draw.between(0, 15);
        if (kind <= 4)
            layer = drawConvolution(input, draw);
        else if (kind <= 7)
            layer = drawConcat(features, draw);
        else if (kind <= 9 && product(input.size) < 300)
            layer = drawUpsample(input, draw);
        else if (kind == 10)
            layer = drawMaskless(input, draw);
        else if (kind == 11)
            layer = drawPool(input, draw);
        else if (kind <= 13)
            drawAdd(features, draw, layer);
        else if (kind != 14 || !drawCrop(features, draw, layer))
            layer = drawScale(input, draw);
        layer.input = static_cast<int>(p.layers.size());
        if (layer.type == PCONV_LAYER_TYPE_CONCAT && draw.oneIn(2))
            std::swap(layer.input, layer.second_input);
        p.layers.push_back(std::move(layer));
    }
    return p;
}

}  // namespace pconv::test
