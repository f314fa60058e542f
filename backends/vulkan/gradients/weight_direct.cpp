// The gradient of the weights by register tiles: any shape, and what software devices and small groups want.
#include "vulkan/gradients/weight.h"

namespace pconv::vulkan {

namespace {

constexpr int64_t kPairs = 4;  // as in shaders/grad_weight.comp

}  // namespace

GradWeightKernel gradWeightDirect(const GradContext& context) {
    int64_t channels = 1;
    while (channels < context.tileChannels() && channels < context.groupOut()) channels *= 2;
    return {"grad_weight",
            {{SPEC_LANES, context.lanes()}, {SPEC_CHANNELS, static_cast<uint32_t>(channels)}},
            channels,
            kPairs,
            1};
}

}  // namespace pconv::vulkan
