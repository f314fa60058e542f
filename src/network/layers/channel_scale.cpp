// What changes every channel by itself: batch normalization, scale and shift, the sigmoid.
#include "core/checked.h"
#include "network/layers/convolution.h"
#include "network/layers/vectors.h"

namespace pconv::network {

void makeVectors(PconvDevice device, LayerState& state, int64_t channels) {
    state.vectors = makeBuffer(device, 2 * static_cast<size_t>(channels) * sizeof(float));
}

void setVector(Prepared& prepared, LayerState& state, int64_t place, const PconvTensor* vector,
               const char* name, int64_t channels, DataType type) {
    const TensorRef from = parseVector(vector, name, type, channels, *prepared.device);
    const TensorRef to{state.vectors->state.buffer,
                       static_cast<size_t>(place * channels) * sizeof(float),
                       DataType::f32,
                       {channels, 1, 1, 1, 1}};
    TensorRef seen = from;
    seen.strides = {channels, 1, 1, 1, 1};
    const DeviceLock lock(*prepared.device);
    prepared.device->device->convert(seen, to, {1, channels, 1, 1, 1});
}

namespace {

class ChannelLayer : public LayerKind {
  public:
    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        calls.addPass(layer.pass, calls.valueAt(layer.inputs[0]), calls.valueAt(layer.output),
                      &calls.state(index));
    }

  protected:
    static Value changed(const Value& input, bool zero_stays) {
        Value value = input;
        value.first_channel = 0;
        value.zero_in_holes = input.zero_in_holes && zero_stays;
        return value;
    }
};

class BatchNormLayer final : public ChannelLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value& input = planner.inputOf(layer);
        layer.pass = planner.describePass(PassKind::pointwise, input.channels, input.size, caller);
        layer.batch_norm_eps = checkedNormEps(caller);
        // Holes that hold 0 need no mask to count as that.
        const bool ignores = enumNumber(caller.conv.mask_type) == PCONV_MASK_TYPE_NONE;
        if (!ignores && !input.zero_in_holes) layer.conv_mask = planner.copied(input.mask, input.size, index);
        return changed(input, false);
    }

    void make(PconvDevice device, Prepared& prepared, size_t index) const override {
        const Plan& plan = prepared.plan;
        const Layer& layer = plan.layers[index];
        LayerState& state = prepared.layers[index];
        makeVectors(device, state, layer.pass.channels);
        state.has_scale = state.has_shift = true;
        if (layer.conv_mask.parts.empty()) return;
        MaskedNormDesc desc;
        desc.spatial_dims = plan.spatial_dims;
        desc.batch = plan.batch;
        desc.channels = layer.pass.channels;
        desc.size = layer.pass.window.input;
        desc.data_type = plan.data_type;
        desc.layout = plan.stores[plan.values[layer.output].store].layout;
        desc.mask_type = layer.conv_mask.type;
        desc.form.batch = layer.conv_mask.batch;
        for (const MaskPart& part : layer.conv_mask.parts)
            desc.form.segments.push_back({part.planes, part.multiplicity, false});
        const auto channels = static_cast<size_t>(desc.channels);
        std::vector<float> statistics(2 * channels, 0.0F);  // means of 0, variances of 1
        std::fill_n(statistics.begin() + static_cast<int64_t>(channels), channels, 1.0F);
        state.statistics = makeBuffer(device, statistics.size() * sizeof(float));
        check(pconvWriteBuffer(state.statistics.get(), 0, statistics.data(),
                               statistics.size() * sizeof(float)));
        const DeviceLock lock(*prepared.device);
        state.norm = prepared.device->device->makeMaskedBatchNorm(desc);
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        const LayerState& state = calls.state(index);
        if (!state.norm) return ChannelLayer::enqueue(calls, index);
        const auto vectorAt = [&](const OwnedBuffer& buffer, int64_t place) {
            return TensorRef{buffer->state.buffer,
                             static_cast<size_t>(place * layer.pass.channels) * sizeof(float),
                             DataType::f32,
                             {1, 1, 1, 1, 1}};
        };
        const BatchNormParameters parameters{vectorAt(state.vectors, 0), vectorAt(state.vectors, 1),
                                             vectorAt(state.statistics, 0), vectorAt(state.statistics, 1)};
        const TensorRef to = calls.valueAt(layer.output);
        calls.add([norm = state.norm.get(), planes = calls.planesOf(layer.conv_mask), parameters,
                   from = calls.valueAt(layer.inputs[0]),
                   to] { norm->forward(planes, from, parameters, to); });
        if (layer.pass.activation != Activation::none) calls.addPass(layer.pass, to, to, nullptr);
    }

    bool hasWeights(const Layer& /*layer*/) const override { return true; }

    LayerWeights readWeights(WeightFile& file, const Layer& layer) const override {
        const FoldedNorm norm = readBatchNorm(file, layer.name, layer.pass.channels, layer.batch_norm_eps);
        return {{layer.pass.channels},
                {norm.scale.begin(), norm.scale.end()},
                {norm.shift.begin(), norm.shift.end()},
                true};
    }

    bool setWeights(Prepared& prepared, size_t index, const PconvTensor* weight,
                    const PconvTensor* bias) const override {
        const int64_t channels = prepared.plan.layers[index].pass.channels;
        LayerState& state = prepared.layers[index];
        setVector(prepared, state, 0, weight, "weight", channels, DataType::f32);
        setVector(prepared, state, 1, bias, "bias", channels, DataType::f32);
        return false;
    }
};

class ScaleLayer final : public ChannelLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value& input = planner.inputOf(layer);
        layer.pass = planner.describePass(PassKind::pointwise, input.channels, input.size, caller);
        planner.readVectors(index, input.channels);
        const PconvLayer& kept = planner.callersLayer(index);
        layer.constant = kept.scale != nullptr || kept.shift != nullptr;
        if (kept.scale != nullptr) layer.scale.assign(kept.scale, kept.scale + input.channels);
        if (kept.shift != nullptr) layer.shift.assign(kept.shift, kept.shift + input.channels);
        return changed(input, layer.constant && layer.shift.empty());
    }

    void make(PconvDevice device, Prepared& prepared, size_t index) const override {
        const Layer& layer = prepared.plan.layers[index];
        LayerState& state = prepared.layers[index];
        makeVectors(device, state, layer.pass.channels);
        state.has_scale = !layer.constant || !layer.scale.empty();
        state.has_shift = !layer.constant || !layer.shift.empty();
        const size_t bytes = static_cast<size_t>(layer.pass.channels) * sizeof(float);
        if (!layer.scale.empty()) check(pconvWriteBuffer(state.vectors.get(), 0, layer.scale.data(), bytes));
        if (!layer.shift.empty())
            check(pconvWriteBuffer(state.vectors.get(), bytes, layer.shift.data(), bytes));
    }

    bool hasWeights(const Layer& layer) const override { return !layer.constant; }

    LayerWeights readWeights(WeightFile& file, const Layer& layer) const override {
        const int64_t channels = layer.pass.channels;
        return {{channels},
                file.read(layer.name + ".weight", {channels}),
                file.read(layer.name + ".bias", {channels}),
                true};
    }

    bool setWeights(Prepared& prepared, size_t index, const PconvTensor* weight,
                    const PconvTensor* bias) const override {
        return batchNormLayer().setWeights(prepared, index, weight, bias);
    }
};

class SigmoidLayer final : public ChannelLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t /*index*/) const override {
        const Value& input = planner.inputOf(layer);
        layer.pass = planner.describePass(PassKind::pointwise, input.channels, input.size, caller);
        layer.pass.activation = Activation::sigmoid;
        return changed(input, false);
    }
};

}  // namespace

const LayerKind& batchNormLayer() {
    static const BatchNormLayer kind;
    return kind;
}

const LayerKind& scaleLayer() {
    static const ScaleLayer kind;
    return kind;
}

const LayerKind& sigmoidLayer() {
    static const SigmoidLayer kind;
    return kind;
}

}  // namespace pconv::network
