// Partial convolutions, and those that know no mask.
#include "network/layers/convolution.h"

#include <cmath>

#include "core/checked.h"
#include "core/descriptor.h"
#include "core/mask_update.h"
#include "core/partial_conv.h"

namespace pconv::network {

void makeConvolution(PconvDevice device, Prepared& prepared, size_t index) {
    const Plan& plan = prepared.plan;
    const Layer& layer = plan.layers[index];
    PconvPartialConvDesc desc = layer.conv;
    if (!layer.implementation.empty()) desc.implementation = layer.implementation.c_str();
    Dims3 size{1, 1, 1};
    for (int i = 0; i < plan.spatial_dims; ++i)
        size[firstDim(plan.spatial_dims) + static_cast<size_t>(i)] = desc.input_size[i];
    std::vector<PconvMaskSegment> segments;
    for (const MaskPart& part : layer.conv_mask.parts)
        segments.push_back({planesOf(plan, layer.conv_mask.batch, part.planes, size,
                                     planeType(layer.conv_mask.type), nullptr, 0),
                            part.multiplicity});
    PconvMask form = pconvDefaultMask();
    form.segment_count = static_cast<int32_t>(segments.size());
    form.segments = segments.data();
    const auto& parts = layer.conv_mask.parts;
    const bool of_the_caller = parts.size() == 1 && parts[0].source.kind == MaskSource::Kind::network;
    if (plan.hole_is_one && of_the_caller) form.polarity = PCONV_MASK_HOLE_IS_ONE;
    const bool masked = !segments.empty();
    PartialConvDesc parsed = parsePartialConvDesc(&desc);
    prepared.layers[index].update.reset(makeMaskUpdate(device->state, parsed,
                                                       parseMaskForm(parsed, masked ? &form : nullptr),
                                                       pinnedImplementation(desc), false)
                                            .release());
    parsed.upsampled = layer.upsampled;
    prepared.layers[index].conv.reset(
        makePartialConv(device->state, parsed, pinnedImplementation(desc)).release());
    if (!masked) check(pconvComputeMaskUpdate(prepared.layers[index].update.get(), nullptr));
}

std::vector<int64_t> weightShape(const PconvPartialConvDesc& conv) {
    std::vector<int64_t> shape{conv.out_channels, conv.in_channels / conv.groups};
    shape.insert(shape.end(), conv.kernel, conv.kernel + conv.spatial_dims);
    return shape;
}

void ConvolutionLayer::make(PconvDevice device, Prepared& prepared, size_t index) const {
    makeConvolution(device, prepared, index);
}

void ConvolutionLayer::enqueueMasks(Calls& calls, size_t index) const {
    const TravelingMask& mask = calls.layer(index).conv_mask;
    if (mask.parts.empty()) return;
    calls.add([update = calls.state(index).update->update.get(), planes = calls.planesOf(mask)] {
        update->compute(planes);
    });
}

void ConvolutionLayer::enqueue(Calls& calls, size_t index) const {
    const Layer& layer = calls.layer(index);
    const LayerState& state = calls.state(index);
    PartialConv* conv = state.conv->conv.get();
    const MaskUpdate* update = state.update->update.get();
    const TensorRef from = calls.valueAt(layer.inputs[0]);
    const TensorRef to = calls.valueAt(layer.output);
    if (layer.upsampled.channels == 0)
        return calls.add([conv, update, from, to] { conv->forward(*update, from, to); });
    const TensorRef rest = layer.inputs.size() > 1 ? calls.valueAt(layer.inputs[1]) : TensorRef{};
    calls.add([conv, update, from, rest, to] { conv->forwardUpsampled(*update, from, rest, to); });
}

LayerWeights ConvolutionLayer::readWeights(WeightFile& file, const Layer& layer) const {
    return readConvolution(file, layer, weightShape(layer.conv));
}

bool ConvolutionLayer::setWeights(Prepared& prepared, size_t index, const PconvTensor* weight,
                                  const PconvTensor* bias) const {
    LayerState& state = prepared.layers[index];
    check(pconvSetPartialConvWeights(state.conv.get(), weight, bias));
    PconvMaskUpdate_T& update = *state.update;
    if (!update.desc.maskedConvolution() || update.desc.mask_type == MaskType::none) return false;
    check(pconvSetMaskUpdateWeights(&update, weight));
    return true;
}

void readBatchNormName(Layer& layer, const PconvLayer& caller, const PconvPartialConvDesc& conv) {
    if (caller.batch_norm == nullptr) return;
    if (conv.has_bias == 0) invalid("has_bias is 0; expected 1 with a batch normalization");
    layer.batch_norm = caller.batch_norm;
    layer.batch_norm_eps = checkedNormEps(caller);
}

double checkedNormEps(const PconvLayer& caller) {
    if (!std::isfinite(caller.batch_norm_eps) || caller.batch_norm_eps < 0)
        invalid("batch_norm_eps is not a finite number of at least 0");
    return caller.batch_norm_eps;
}

namespace {

class PartialConvLayer final : public ConvolutionLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        const PconvPartialConvDesc conv = planner.describeConv(caller, input.channels, input.size);
        const bool ignores = enumNumber(conv.mask_type) == PCONV_MASK_TYPE_NONE;
        Value value =
            planner.convolve(layer, conv, ignores ? TravelingMask{} : input.mask, input.zero_in_holes, index);
        readBatchNormName(layer, caller, conv);
        return value;
    }
};

class ConvLayer final : public ConvolutionLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        PconvPartialConvDesc conv = planner.describeConv(caller, input.channels, input.size);
        conv.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
        Value value = planner.convolve(layer, conv, {}, false, index);
        readBatchNormName(layer, caller, conv);
        return value;
    }
};

}  // namespace

const LayerKind& partialConvLayer() {
    static const PartialConvLayer kind;
    return kind;
}

const LayerKind& convLayer() {
    static const ConvLayer kind;
    return kind;
}

}  // namespace pconv::network
