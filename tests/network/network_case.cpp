#include "network/network_case.h"

#include <algorithm>

#include "core/half.h"

namespace pconv::test {
namespace {

std::vector<int64_t> dimsOf(int64_t outer, int64_t channels, const std::vector<int64_t>& size) {
    std::vector<int64_t> dims{outer, channels};
    dims.insert(dims.end(), size.begin(), size.end());
    return dims;
}

size_t elementSize(PconvDataType type) {
    return type == PCONV_DATA_TYPE_F32 ? 4 : type == PCONV_DATA_TYPE_U8 ? 1 : 2;
}

std::vector<unsigned char> packed(const std::vector<float>& values, PconvDataType type) {
    std::vector<unsigned char> bytes(values.size() * elementSize(type));
    for (size_t i = 0; i < values.size(); ++i) {
        if (type == PCONV_DATA_TYPE_F32) std::memcpy(&bytes[4 * i], &values[i], 4);
        if (type == PCONV_DATA_TYPE_U8) bytes[i] = values[i] != 0 ? 1 : 0;
        if (type != PCONV_DATA_TYPE_F16 && type != PCONV_DATA_TYPE_BF16) continue;
        const uint16_t half =
            type == PCONV_DATA_TYPE_F16 ? f16FromFloat(values[i]) : bf16FromFloat(values[i]);
        std::memcpy(&bytes[2 * i], &half, 2);
    }
    return bytes;
}

std::vector<float> readFloats(const PconvTensor& view, size_t count) {
    std::vector<float> values(count);
    if (view.data_type == PCONV_DATA_TYPE_F32) return readBuffer<float>(view.buffer, count, view.offset);
    if (view.data_type == PCONV_DATA_TYPE_U8) {
        const auto bytes = readBuffer<uint8_t>(view.buffer, count, view.offset);
        std::copy(bytes.begin(), bytes.end(), values.begin());
        return values;
    }
    const auto halves = readBuffer<uint16_t>(view.buffer, count, view.offset);
    for (size_t i = 0; i < count; ++i)
        values[i] =
            view.data_type == PCONV_DATA_TYPE_F16 ? floatFromF16(halves[i]) : floatFromBf16(halves[i]);
    return values;
}

// [N, C, S...] to [N, S..., C], or back.
std::vector<float> reordered(const std::vector<float>& values, int64_t channels, int64_t plane,
                             bool to_last) {
    std::vector<float> result(values.size());
    const auto images = static_cast<int64_t>(values.size()) / (channels * plane);
    for (int64_t n = 0; n < images; ++n)
        for (int64_t c = 0; c < channels; ++c)
            for (int64_t s = 0; s < plane; ++s) {
                const auto planar = static_cast<size_t>((n * channels + c) * plane + s);
                const auto last = static_cast<size_t>((n * plane + s) * channels + c);
                (to_last ? result[last] : result[planar]) = to_last ? values[planar] : values[last];
            }
    return result;
}

void makeChannelsLast(PconvTensor& view) {
    view.strides[1] = 1;
    int64_t stride = view.dims[1];
    for (int32_t d = view.rank - 1; d >= 2; --d) {
        view.strides[d] = stride;
        stride *= view.dims[d];
    }
    view.strides[0] = stride;
}

int32_t sourceOf(int feature, size_t layer) {
    if (feature == static_cast<int>(layer)) return PCONV_LAYER_PREVIOUS;
    return feature == 0 ? PCONV_NETWORK_INPUT : feature - 1;
}

}  // namespace

PconvNetworkDesc describe(const NetworkProblem& problem, std::vector<PconvLayer>& layers,
                          std::vector<std::vector<int32_t>>& more_inputs) {
    more_inputs.assign(problem.layers.size(), {});
    PconvNetworkDesc desc = pconvDefaultNetworkDesc(problem.dims());
    desc.batch = problem.batch;
    desc.channels = problem.input.channels;
    std::copy(problem.input.size.begin(), problem.input.size.end(), desc.size);
    desc.data_type = problem.data_type;
    desc.layout = problem.layout;
    desc.math = problem.fast_math ? PCONV_MATH_FAST : PCONV_MATH_EXACT;
    desc.mask_type = problem.input.mask_type;
    desc.mask_batch = problem.input.mask_batch;
    desc.mask_planes = problem.input.mask.empty() ? 1 : problem.input.mask[0].planes;
    desc.polarity = problem.polarity;
    layers.clear();
    for (const NetworkLayer& from : problem.layers) {
        PconvLayer layer = pconvDefaultLayer(problem.dims());
        layer.type = from.type;
        layer.input = sourceOf(from.input, layers.size());
        layer.second_input = sourceOf(from.second_input, layers.size());
        std::copy(from.factor.begin(), from.factor.end(), layer.factor);
        std::copy(from.begin.begin(), from.begin.end(), layer.begin);
        std::copy(from.output_padding.begin(), from.output_padding.end(), layer.output_padding);
        layer.interpolation = from.interpolation;
        layer.inside_only = from.inside_only ? 1 : 0;
        if (!from.conv.kernel.empty()) layer.conv = describe(from.conv);
        if (from.constant && !from.scale.empty()) layer.scale = from.scale.data();
        if (from.constant && !from.shift.empty()) layer.shift = from.shift.data();
        const size_t index = layers.size();
        for (const int32_t more : from.more_inputs) more_inputs[index].push_back(sourceOf(more, index));
        layer.more_inputs = more_inputs[index].data();
        layer.more_input_count = static_cast<int32_t>(more_inputs[index].size());
        layer.conv.mask_type = from.ignores_mask ? PCONV_MASK_TYPE_NONE : PCONV_MASK_TYPE_BINARY;
        layers.push_back(layer);
    }
    desc.layer_count = static_cast<int32_t>(layers.size());
    desc.layers = layers.data();
    return desc;
}

NetworkCase::NetworkCase(PconvDevice device, const NetworkProblem& problem, bool resizable)
    : device_(device), problem_(&problem) {
    std::vector<PconvLayer> layers;
    std::vector<std::vector<int32_t>> more_inputs;
    PconvNetworkDesc desc = describe(problem, layers, more_inputs);
    desc.resizable = resizable ? 1 : 0;
    check(pconvCreateNetwork(device, &desc, network_.out()));
    int64_t dims[PCONV_MAX_DIMS];
    check(pconvGetNetworkOutputDims(network_.get(), dims));
    output_dims_.assign(dims, dims + problem.dims() + 2);
    setWeights();
}

bool NetworkCase::resize(const NetworkProblem& problem) {
    int64_t size[PCONV_MAX_SPATIAL_DIMS] = {};
    std::copy(problem.input.size.begin(), problem.input.size.end(), size);
    if (pconvResizeNetwork(network_.get(), problem.batch, size) != PCONV_SUCCESS) return false;
    problem_ = &problem;
    sets_.clear();
    int64_t dims[PCONV_MAX_DIMS];
    check(pconvGetNetworkOutputDims(network_.get(), dims));
    output_dims_.assign(dims, dims + problem.dims() + 2);
    return true;
}

void NetworkCase::setWeights() {
    for (size_t i = 0; i < problem_->layers.size(); ++i) {
        const NetworkLayer& layer = problem_->layers[i];
        if (!hasWeights(layer)) continue;
        const Problem& conv = layer.conv;
        std::vector<int64_t> dims;
        PconvDataType type = problem_->data_type;
        const std::vector<float>* weight = &conv.weight;
        const std::vector<float>* bias = conv.has_bias ? &conv.bias : nullptr;
        if (layer.type == PCONV_LAYER_TYPE_BATCH_NORM || layer.type == PCONV_LAYER_TYPE_SCALE) {
            type = PCONV_DATA_TYPE_F32;
            weight = &layer.scale;
            bias = &layer.shift;
            dims = {static_cast<int64_t>(weight->size())};
        } else if (layer.type == PCONV_LAYER_TYPE_LINEAR) {
            dims = {conv.out_channels, conv.in_channels * product(conv.kernel)};
        } else {
            dims = weightDims(conv);
            if (layer.type == PCONV_LAYER_TYPE_TRANSPOSED_CONV) {
                dims[0] = conv.in_channels;
                dims[1] = conv.out_channels / conv.groups;
            }
        }
        const OwnedBuffer weight_buffer = makeBuffer(device_, packed(*weight, type));
        const PconvTensor weight_view = makeTensor(weight_buffer.get(), type, dims);
        OwnedBuffer bias_buffer;
        PconvTensor bias_view{};
        if (bias != nullptr) {
            bias_buffer = makeBuffer(device_, packed(*bias, type));
            bias_view = makeTensor(bias_buffer.get(), type, {static_cast<int64_t>(bias->size())});
        }
        check(pconvSetNetworkWeights(network_.get(), static_cast<int32_t>(i), &weight_view,
                                     bias != nullptr ? &bias_view : nullptr));
    }
}

NetworkCase::Set& NetworkCase::set(size_t index) {
    while (sets_.size() <= index) {
        Set& made = sets_.emplace_back();
        const Feature& input = problem_->input;
        const PconvDataType type = problem_->data_type;
        made.input = makeBuffer(device_, input.values.size() * elementSize(type));
        made.input_view =
            makeTensor(made.input.get(), type, dimsOf(problem_->batch, input.channels, input.size));
        made.output = makeBuffer(device_, static_cast<size_t>(product(output_dims_)) * elementSize(type));
        made.output_view = makeTensor(made.output.get(), type, output_dims_);
        if (problem_->layout == PCONV_LAYOUT_CHANNELS_LAST) {
            makeChannelsLast(made.input_view);
            makeChannelsLast(made.output_view);
        }
        writeInput(sets_.size() - 1, input.values);
        if (!input.mask.empty()) {
            const bool fractional = input.mask_type == PCONV_MASK_TYPE_FRACTIONAL;
            const PconvDataType planes = fractional ? PCONV_DATA_TYPE_F32 : PCONV_DATA_TYPE_U8;
            made.mask = makeBuffer(device_, packed(input.mask[0].values, planes));
            made.mask_view = makeTensor(made.mask.get(), planes,
                                        dimsOf(problem_->input.mask_batch, input.mask[0].planes, input.size));
        }
    }
    return sets_[index];
}

void NetworkCase::writeInput(size_t index, const std::vector<float>& values) {
    const Set& to = sets_.size() > index ? sets_[index] : set(index);
    const auto ordered =
        problem_->layout == PCONV_LAYOUT_CHANNELS_LAST
            ? reordered(values, problem_->input.channels, product(problem_->input.size), true)
            : values;
    const auto bytes = packed(ordered, problem_->data_type);
    check(pconvWriteBuffer(to.input.get(), 0, bytes.data(), bytes.size()));
}

void NetworkCase::writeMask(size_t index, const std::vector<float>& values) {
    const Set& to = set(index);
    const auto bytes = packed(values, to.mask_view.data_type);
    check(pconvWriteBuffer(to.mask.get(), 0, bytes.data(), bytes.size()));
}

PconvStatus NetworkCase::forward(size_t index, bool mask) {
    const Set& used = set(index);
    const bool given = mask && !problem_->input.mask.empty();
    return pconvForwardNetwork(network_.get(), &used.input_view, given ? &used.mask_view : nullptr,
                               &used.output_view);
}

std::vector<float> NetworkCase::output(size_t index) const {
    const auto values = readFloats(sets_.at(index).output_view, static_cast<size_t>(product(output_dims_)));
    if (problem_->layout != PCONV_LAYOUT_CHANNELS_LAST) return values;
    const int64_t plane = product({output_dims_.begin() + 2, output_dims_.end()});
    return reordered(values, output_dims_[1], plane, false);
}

std::vector<Segment> NetworkCase::outputMask() const {
    int32_t count = 0;
    check(pconvGetNetworkOutputMask(network_.get(), 0, nullptr, &count));
    std::vector<PconvMaskSegment> segments(static_cast<size_t>(count));
    check(pconvGetNetworkOutputMask(network_.get(), count, segments.data(), &count));
    std::vector<Segment> result;
    for (const PconvMaskSegment& segment : segments) {
        const PconvTensor& planes = segment.planes;
        const int64_t values = product({planes.dims, planes.dims + planes.rank});
        result.push_back(
            {planes.dims[1], segment.multiplicity, readFloats(planes, static_cast<size_t>(values))});
    }
    return result;
}

}  // namespace pconv::test
