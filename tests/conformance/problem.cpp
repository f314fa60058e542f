#include "conformance/problem.h"

#include "core/half.h"

namespace pconv::test {

Problem Problem::ofDims(int dims) {
    Problem problem;
    const auto count = static_cast<size_t>(dims);
    problem.size.assign(count, 1);
    problem.kernel.assign(count, 1);
    problem.stride.assign(count, 1);
    problem.padding.assign(count, 0);
    problem.dilation.assign(count, 1);
    return problem;
}

int64_t product(const std::vector<int64_t>& values) {
    int64_t result = 1;
    for (const int64_t value : values) result *= value;
    return result;
}

namespace {

std::vector<int64_t> withSpatial(int64_t outer, int64_t inner, const std::vector<int64_t>& spatial) {
    std::vector<int64_t> dims{outer, inner};
    dims.insert(dims.end(), spatial.begin(), spatial.end());
    return dims;
}

}  // namespace

std::vector<int64_t> outputSize(const Problem& p) {
    std::vector<int64_t> result;
    for (size_t d = 0; d < p.size.size(); ++d)
        result.push_back(
            (p.size[d] + p.padding[d] + p.paddingBehind(d) - p.dilation[d] * (p.kernel[d] - 1) - 1) /
                p.stride[d] +
            1);
    return result;
}

std::vector<int64_t> inputDims(const Problem& p) {
    return withSpatial(p.batch, p.in_channels, p.size);
}

std::vector<int64_t> outputDims(const Problem& p) {
    return withSpatial(p.batch, p.out_channels, outputSize(p));
}

std::vector<int64_t> weightDims(const Problem& p) {
    return withSpatial(p.out_channels, p.in_channels / p.groups, p.kernel);
}

std::vector<int64_t> planeDims(const Problem& p, const Segment& segment) {
    return withSpatial(p.mask_batch, segment.planes, p.size);
}

PconvPartialConvDesc describe(const Problem& p) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(p.dims());
    desc.batch = p.batch;
    desc.in_channels = p.in_channels;
    desc.out_channels = p.out_channels;
    desc.groups = p.groups;
    for (size_t d = 0; d < p.size.size(); ++d) {
        desc.input_size[d] = p.size[d];
        desc.kernel[d] = p.kernel[d];
        desc.stride[d] = p.stride[d];
        desc.padding[d] = p.padding[d];
        desc.dilation[d] = p.dilation[d];
        if (!p.padding_end.empty()) desc.padding_end[d] = p.padding_end[d];
    }
    desc.padding_mode = p.padding_mode;
    desc.mask_type = p.mask_type;
    desc.mask_mode = p.multi_channel ? PCONV_MASK_MODE_MULTI_CHANNEL : PCONV_MASK_MODE_SINGLE_CHANNEL;
    desc.mask_window = p.group_window ? PCONV_MASK_WINDOW_GROUP_CHANNELS : PCONV_MASK_WINDOW_ALL_CHANNELS;
    desc.normalization = p.normalization;
    desc.eps = p.eps;
    desc.activation = p.activation;
    desc.negative_slope = p.negative_slope;
    desc.has_bias = p.has_bias ? 1 : 0;
    desc.input_is_masked = p.input_is_masked ? 1 : 0;
    desc.training = p.grad_output.empty() ? 0 : 1;
    desc.data_type = p.data_type;
    desc.math = p.fast_math ? PCONV_MATH_FAST : PCONV_MATH_EXACT;
    return desc;
}

double maskValue(const Problem& p, int64_t n, int64_t channel, int64_t position) {
    const int64_t image = p.mask_batch == 1 ? 0 : n;
    int64_t first = 0;
    for (const Segment& segment : p.segments) {
        // In single-channel mode the one plane serves every channel.
        const int64_t multiplicity = p.multi_channel ? segment.multiplicity : p.in_channels;
        const int64_t plane = (channel - first) / multiplicity;
        if (plane < segment.planes) {
            const double value = static_cast<double>(segment.values[static_cast<size_t>(
                (image * segment.planes + plane) * product(p.size) + position)]);
            return p.polarity == PCONV_MASK_HOLE_IS_ONE ? 1 - value : value;
        }
        first += segment.planes * multiplicity;
    }
    return 1;
}

float roundedTo(float value, PconvDataType type) {
    if (type == PCONV_DATA_TYPE_F16) return floatFromF16(f16FromFloat(value));
    if (type == PCONV_DATA_TYPE_BF16) return floatFromBf16(bf16FromFloat(value));
    return value;
}

Problem inType(const Problem& problem, PconvDataType type) {
    Problem result = problem;
    result.data_type = type;
    for (std::vector<float>* values : {&result.input, &result.weight, &result.bias, &result.grad_output})
        for (float& value : *values) value = roundedTo(value, type);
    return result;
}

Problem withPolarityFlipped(const Problem& problem) {
    Problem result = problem;
    result.polarity =
        problem.polarity == PCONV_MASK_HOLE_IS_ONE ? PCONV_MASK_VALID_IS_ONE : PCONV_MASK_HOLE_IS_ONE;
    for (Segment& segment : result.segments)
        for (float& value : segment.values) value = 1 - value;
    return result;
}

Problem withFractionalType(const Problem& problem) {
    Problem result = problem;
    if (result.mask_type == PCONV_MASK_TYPE_BINARY) result.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
    return result;
}

int64_t work(const Problem& p) {
    return p.batch * p.out_channels * (p.in_channels / p.groups) * product(p.kernel) * product(outputSize(p));
}

}  // namespace pconv::test
