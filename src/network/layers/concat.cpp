// Channels of several inputs, one after another: written there from the start, or copied.
#include "core/checked.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

class ConcatLayer final : public LayerKind {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        planner.addMoreInputs(layer, caller, index);
        std::vector<const Value*> inputs;
        Value value = planner.inputOf(layer);
        value.channels = 0;
        for (size_t i = 0; i < layer.inputs.size(); ++i) {
            inputs.push_back(&planner.inputOf(layer, i));
            if (inputs[i]->size != inputs[0]->size) invalid("its inputs differ in size");
            value.channels += inputs[i]->channels;
            value.zero_in_holes = value.zero_in_holes && inputs[i]->zero_in_holes;
        }
        value.mask = planner.joined(inputs);
        return value;
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        int64_t channel = 0;
        for (size_t i = 0; i < layer.inputs.size(); ++i) {
            if (layer.copied[i]) calls.addCopy(layer.inputs[i], calls.valueAt(layer.output, channel));
            channel += calls.plan().values[layer.inputs[i]].channels;
        }
    }
};

}  // namespace

const LayerKind& concatLayer() {
    static const ConcatLayer kind;
    return kind;
}

}  // namespace pconv::network
