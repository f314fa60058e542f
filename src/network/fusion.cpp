#include "network/fusion.h"

#include <algorithm>

#include "core/descriptor.h"

namespace pconv::network {

namespace {

// The layer that makes a value which nothing but one layer reads.
const Layer* onlyMakerOf(const Plan& plan, size_t value) {
    if (value == 0) return nullptr;
    int64_t readers = 0;
    for (const Layer& layer : plan.layers)
        readers += std::count(layer.inputs.begin(), layer.inputs.end(), value);
    return readers == 1 ? &plan.layers[value - 1] : nullptr;
}

bool repeats(const Layer* layer) {
    return layer != nullptr && layer->type == PCONV_LAYER_TYPE_UPSAMPLE && !layer->interpolates;
}

// What the convolution's input is made of, where one part of it is upsampled.
bool findParts(const Plan& plan, size_t value, Fusion& fusion) {
    const Layer* maker = onlyMakerOf(plan, value);
    if (maker == nullptr) return false;
    fusion.layers = {value - 1};
    size_t upsampled = value;
    size_t rest = 0;
    bool has_rest = false;
    if (maker->type == PCONV_LAYER_TYPE_CONCAT) {
        if (maker->inputs.size() != 2) return false;
        const auto part = std::find_if(maker->inputs.begin(), maker->inputs.end(),
                                       [&](size_t input) { return repeats(onlyMakerOf(plan, input)); });
        if (part == maker->inputs.end()) return false;
        const bool first = part == maker->inputs.begin();
        upsampled = *part;
        rest = maker->inputs[first ? 1 : 0];
        has_rest = true;
        fusion.channels.first = first ? 0 : plan.values[rest].channels;
        maker = onlyMakerOf(plan, upsampled);
        fusion.layers.push_back(upsampled - 1);
    }
    if (!repeats(maker)) return false;
    fusion.channels.channels = plan.values[upsampled].channels;
    fusion.channels.factor = maker->factor;
    fusion.inputs = {maker->inputs[0]};
    if (has_rest) fusion.inputs.push_back(rest);
    return true;
}

}  // namespace

Fusions findFusions(const Plan& plan, const FusesUpsampling& fuses) {
    Fusions fusions;
    for (size_t i = 0; i < plan.layers.size(); ++i) {
        const Layer& layer = plan.layers[i];
        if (layer.type != PCONV_LAYER_TYPE_PARTIAL_CONV && layer.type != PCONV_LAYER_TYPE_CONV) continue;
        Fusion fusion;
        if (!findParts(plan, layer.inputs[0], fusion)) continue;
        PartialConvDesc desc = parsePartialConvDesc(&layer.conv);
        // The upsampled channels are read without a mask: zeros in holes say the same of a binary one.
        const bool masks_them = desc.mask_type == MaskType::fractional ||
                                (desc.maskInput() && !plan.values[fusion.inputs[0]].zero_in_holes);
        if (masks_them || desc.groups > 1 || desc.padding_mode != PaddingMode::zeros) continue;
        desc.upsampled = fusion.channels;
        if (fuses(desc, layer.implementation)) fusions[i] = std::move(fusion);
    }
    return fusions;
}

}  // namespace pconv::network
