// Upsampling by whole factors, nearest or linear; masks are repeated.
#include "core/checked.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

class UpsampleLayer final : public LayerKind {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        layer.factor = expand(caller.factor, planner.plan().spatial_dims, "factor", 1);
        Value value = input;
        for (size_t d = 0; d < 3; ++d) {
            value.size[d] = checkedProduct(value.size[d], layer.factor[d], "the output");
            checkRange("the output's size", value.size[d], 1, kMaxSize);
        }
        checkRange("interpolation", enumNumber(caller.interpolation), 0,
                   PCONV_INTERPOLATION_LINEAR_ALIGN_CORNERS);
        if (caller.interpolation != PCONV_INTERPOLATION_NEAREST) {
            layer.interpolates = true;
            layer.pass = planner.describePass(PassKind::interpolate, input.channels, input.size, caller);
            layer.pass.window.output = value.size;
            layer.pass.align_corners = caller.interpolation == PCONV_INTERPOLATION_LINEAR_ALIGN_CORNERS;
            value.zero_in_holes = false;
        }
        value.mask = planner.resampled(input.mask, input.size, {0, 0, 0}, input.size, layer.factor, index);
        return value;
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        const TensorRef from = calls.valueAt(layer.inputs[0]);
        const TensorRef to = calls.valueAt(layer.output);
        if (layer.interpolates) return calls.addPass(layer.pass, from, to, nullptr);
        const Value& value = calls.plan().values[layer.inputs[0]];
        calls.add([device = calls.device(), from, to,
                   dims = tensorDims(calls.plan().batch, value.channels, value.size),
                   factor = layer.factor] { device->upsample(from, to, dims, factor); });
    }
};

}  // namespace

const LayerKind& upsampleLayer() {
    static const UpsampleLayer kind;
    return kind;
}

}  // namespace pconv::network
