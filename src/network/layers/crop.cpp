// A part of the input, of the size of another.
#include "core/checked.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

class CropLayer final : public LayerKind {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        planner.addSecondInput(layer, caller, index);
        Value value = planner.inputOf(layer);
        const Dims3 source = value.size;
        layer.begin = expand(caller.begin, planner.plan().spatial_dims, "begin", 0, 0);
        value.size = planner.inputOf(layer, 1).size;
        value.first_channel = 0;
        for (size_t d = 0; d < 3; ++d)
            if (layer.begin[d] + value.size[d] > source[d])
                invalid("it crops " + std::to_string(value.size[d]) + " from " +
                        std::to_string(layer.begin[d]) + " on out of an input of " +
                        std::to_string(source[d]));
        value.mask = planner.resampled(value.mask, source, layer.begin, value.size, {1, 1, 1}, index);
        return value;
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        TensorRef from = calls.valueAt(layer.inputs[0]);
        int64_t skipped = 0;
        for (size_t d = 0; d < 3; ++d) skipped += layer.begin[d] * from.strides[2 + d];
        from.offset += static_cast<size_t>(skipped) * sizeOf(from.data_type);
        const Value& value = calls.plan().values[layer.output];
        calls.add([device = calls.device(), from, to = calls.valueAt(layer.output),
                   dims = tensorDims(calls.plan().batch, value.channels, value.size)] {
            device->convert(from, to, dims);
        });
    }
};

}  // namespace

const LayerKind& cropLayer() {
    static const CropLayer kind;
    return kind;
}

}  // namespace pconv::network
