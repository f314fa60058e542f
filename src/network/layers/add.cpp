// The sum of two inputs or more, and an activation.
#include "core/checked.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

class AddLayer final : public LayerKind {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        planner.addMoreInputs(layer, caller, index);
        std::vector<const Value*> inputs;
        bool zero = true;
        for (size_t i = 0; i < layer.inputs.size(); ++i) {
            inputs.push_back(&planner.inputOf(layer, i));
            if (inputs[i]->size != inputs[0]->size || inputs[i]->channels != inputs[0]->channels)
                invalid("its inputs differ in size or channels");
            zero = zero && inputs[i]->zero_in_holes;
        }
        layer.pass = planner.describePass(PassKind::pointwise, inputs[0]->channels, inputs[0]->size, caller);
        return {inputs[0]->channels, inputs[0]->size, 0, 0, planner.eitherOf(inputs, index), zero};
    }

    void enqueue(Calls& calls, size_t index) const override {
        const Layer& layer = calls.layer(index);
        const TensorRef to = calls.valueAt(layer.output);
        PassDesc adding = layer.pass;
        for (size_t i = 1; i < layer.inputs.size(); ++i) {
            const bool last = i + 1 == layer.inputs.size();
            adding.activation = last ? layer.pass.activation : Activation::none;
            calls.addPass(adding, i == 1 ? calls.valueAt(layer.inputs[0]) : to, to, nullptr,
                          calls.valueAt(layer.inputs[i]));
        }
    }
};

}  // namespace

const LayerKind& addLayer() {
    static const AddLayer kind;
    return kind;
}

}  // namespace pconv::network
