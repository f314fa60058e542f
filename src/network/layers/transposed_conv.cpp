// Transposed convolution: the input's gradient of a convolution, and a pass for bias and activation.
#include "core/checked.h"
#include "network/layers/convolution.h"
#include "network/layers/vectors.h"

namespace pconv::network {

namespace {

class TransposedConvLayer final : public ConvolutionLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        const int dims = planner.plan().spatial_dims;
        PconvPartialConvDesc conv = planner.describeConv(caller, input.channels, input.size);
        if (caller.batch_norm != nullptr)
            invalid("batch_norm is given; expected a BATCH_NORM layer behind it");
        const bool has_bias = conv.has_bias != 0;
        expectEvenZeros(conv, dims);
        const Dims3 kernel = expand(conv.kernel, dims, "kernel", 1);
        const Dims3 stride = expand(conv.stride, dims, "stride", 1);
        const Dims3 padding = expand(conv.padding, dims, "padding", 0, 0);
        const Dims3 dilation = expand(conv.dilation, dims, "dilation", 1);
        const Dims3 more = expand(caller.output_padding, dims, "output_padding", 0, 0);
        Dims3 size{1, 1, 1};
        for (size_t d = firstDim(dims); d < 3; ++d) {
            const std::string number = "[" + std::to_string(d - firstDim(dims)) + "]";
            if (more[d] >= stride[d])
                invalid("output_padding" + number + " is " + std::to_string(more[d]) +
                        "; expected less than stride, " + std::to_string(stride[d]));
            size[d] = checkedProduct(input.size[d] - 1, stride[d], "the output") - 2 * padding[d] +
                      dilation[d] * (kernel[d] - 1) + more[d] + 1;
            checkRange("the output's size" + number, size[d], 1, kMaxSize);
            conv.input_size[d - firstDim(dims)] = size[d];
        }
        layer.pass = planner.describePass(PassKind::pointwise, conv.out_channels, size, caller);
        conv.in_channels = caller.conv.out_channels;
        conv.out_channels = input.channels;
        conv.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
        conv.activation = PCONV_ACTIVATION_NONE;
        conv.has_bias = 0;
        conv.training = 1;
        planner.convolve(layer, conv, {}, false, index);
        layer.has_bias = has_bias;
        return {caller.conv.out_channels, size, 0, 0, {}, false};
    }

    void make(PconvDevice device, Prepared& prepared, size_t index) const override {
        makeConvolution(device, prepared, index);
        const Layer& layer = prepared.plan.layers[index];
        if (layer.has_bias) makeVectors(device, prepared.layers[index], layer.pass.channels);
        prepared.layers[index].has_shift = layer.has_bias;
    }

    void enqueueMasks(Calls& /*calls*/, size_t /*index*/) const override {}

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        const LayerState& state = calls.state(index);
        const TensorRef to = calls.valueAt(layer.output);
        calls.add([conv = state.conv->conv.get(), update = state.update->update.get(),
                   from = calls.valueAt(layer.inputs[0]), to] {
            Gradients gradients;
            gradients.input = &to;
            conv->backward(*update, to, from, gradients);
        });
        if (layer.has_bias || layer.pass.activation != Activation::none)
            calls.addPass(layer.pass, to, to, &state);
    }

    LayerWeights readWeights(WeightFile& file, const Layer& layer) const override {
        LayerWeights result = ConvolutionLayer::readWeights(file, layer);
        if (layer.has_bias) result.bias = file.read(layer.name + ".bias", {layer.pass.channels});
        return result;
    }

    bool setWeights(Prepared& prepared, size_t index, const PconvTensor* weight,
                    const PconvTensor* bias) const override {
        const Layer& layer = prepared.plan.layers[index];
        LayerState& state = prepared.layers[index];
        if (layer.has_bias)
            setVector(prepared, state, 1, bias, "bias", layer.pass.channels, prepared.plan.data_type);
        if (!layer.has_bias && bias != nullptr) invalid("bias is given; expected null where has_bias is 0");
        return ConvolutionLayer::setWeights(prepared, index, weight, nullptr);
    }
};

}  // namespace

const LayerKind& transposedConvLayer() {
    static const TransposedConvLayer kind;
    return kind;
}

}  // namespace pconv::network
