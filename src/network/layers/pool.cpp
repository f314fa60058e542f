// Max and average pooling. The average of what a mask leaves is a partial convolution with weights of 1.
#include "core/checked.h"
#include "network/layers/convolution.h"

namespace pconv::network {

namespace {

// The caller's window over an input of this size; a kernel of 0 is the whole dimension.
Window windowOver(const Dims3& size, const PconvLayer& caller, int dims) {
    Window window;
    window.input = size;
    window.kernel = expand(caller.conv.kernel, dims, "kernel", 0);
    window.stride = expand(caller.conv.stride, dims, "stride", 1);
    expectEvenZeros(caller.conv, dims);
    window.padding = expand(caller.conv.padding, dims, "padding", 0, 0);
    for (size_t d = 0; d < 3; ++d) {
        const std::string number = "[" + std::to_string(static_cast<int>(d) - (3 - dims)) + "]";
        if (window.kernel[d] == 0) {
            window.kernel[d] = size[d];
            window.stride[d] = 1;
            window.padding[d] = 0;
        }
        if (2 * window.padding[d] > window.kernel[d])
            invalid("padding" + number + " is " + std::to_string(window.padding[d]) +
                    "; expected at most half the kernel, " + std::to_string(window.kernel[d]));
        const int64_t room = size[d] + 2 * window.padding[d] - window.kernel[d];
        if (room < 0)
            invalid("kernel" + number + " is " + std::to_string(window.kernel[d]) + ", beyond the input's " +
                    std::to_string(size[d]) + " with its padding");
        window.output[d] = room / window.stride[d] + 1;
    }
    return window;
}

class MaxPoolLayer final : public LayerKind {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        layer.pass = planner.describePass(PassKind::max_pool, input.channels, input.size, caller);
        layer.pass.window = windowOver(input.size, caller, planner.plan().spatial_dims);
        Value value = input;
        value.size = layer.pass.window.output;
        value.first_channel = 0;
        if (enumNumber(caller.conv.mask_type) == PCONV_MASK_TYPE_NONE) value.mask = {};
        if (value.mask.parts.empty()) return value;
        if (!input.zero_in_holes)
            invalid("its input is masked and may hold anything in holes; expected 0 there");
        value.mask = planner.windowed(input.mask, layer.pass.window, index);
        return value;
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        calls.addPass(layer.pass, calls.valueAt(layer.inputs[0]), calls.valueAt(layer.output), nullptr);
    }
};

class AveragePoolLayer final : public ConvolutionLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        layer.pass = planner.describePass(PassKind::average_pool, input.channels, input.size, caller);
        layer.pass.window = windowOver(input.size, caller, planner.plan().spatial_dims);
        layer.pass.inside_only = caller.inside_only != 0;
        if (input.mask.parts.empty() || enumNumber(caller.conv.mask_type) == PCONV_MASK_TYPE_NONE)
            return {input.channels, layer.pass.window.output, 0, 0, {}, false};
        PconvPartialConvDesc conv = planner.describeConv(caller, input.channels, input.size);
        for (int i = 0; i < conv.spatial_dims; ++i) {
            const size_t d = firstDim(conv.spatial_dims) + static_cast<size_t>(i);
            conv.kernel[i] = layer.pass.window.kernel[d];
            conv.stride[i] = layer.pass.window.stride[d];
            conv.padding[i] = conv.padding_end[i] = layer.pass.window.padding[d];
            conv.dilation[i] = 1;
        }
        conv.out_channels = conv.groups = input.channels;
        const bool one_plane = input.mask.parts.size() == 1 && input.mask.parts[0].planes == 1;
        conv.mask_mode = one_plane ? PCONV_MASK_MODE_SINGLE_CHANNEL : PCONV_MASK_MODE_MULTI_CHANNEL;
        conv.mask_window = PCONV_MASK_WINDOW_GROUP_CHANNELS;
        conv.normalization = PCONV_NORMALIZATION_MASK_SUM;
        conv.activation = PCONV_ACTIVATION_NONE;
        conv.has_bias = 0;
        return planner.convolve(layer, conv, input.mask, input.zero_in_holes, index);
    }

    void make(PconvDevice device, Prepared& prepared, size_t index) const override {
        const Layer& layer = prepared.plan.layers[index];
        if (layer.conv_mask.parts.empty()) return;
        makeConvolution(device, prepared, index);
        const std::vector<int64_t> shape = weightShape(layer.conv);
        int64_t count = 1;
        for (const int64_t size : shape) count *= size;
        const Uploaded ones = upload(device, std::vector<float>(static_cast<size_t>(count), 1.0F), shape,
                                     prepared.plan.data_type);
        ConvolutionLayer::setWeights(prepared, index, ones.get(), nullptr);
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        if (!layer.conv_mask.parts.empty()) return ConvolutionLayer::enqueue(calls, index);
        calls.addPass(layer.pass, calls.valueAt(layer.inputs[0]), calls.valueAt(layer.output), nullptr);
    }

    bool hasWeights(const Layer& /*layer*/) const override { return false; }
};

}  // namespace

const LayerKind& maxPoolLayer() {
    static const MaxPoolLayer kind;
    return kind;
}

const LayerKind& averagePoolLayer() {
    static const AveragePoolLayer kind;
    return kind;
}

}  // namespace pconv::network
