// The gradient of the input by register tiles: any shape, and what software devices and small groups want.
#include <algorithm>

#include "vulkan/gradients/input.h"

namespace pconv::vulkan {

namespace {

constexpr int64_t kPixels = 4;  // as in shaders/grad_input.comp

}  // namespace

GradInputKernel gradInputDirect(const GradContext& context) {
    const Window& w = context.desc.window;
    const uint32_t lanes = context.lanes();
    int64_t channels = 1;
    while (channels < context.tileChannels() && channels < context.groupIn()) channels *= 2;
    const int64_t units_a_row =
        std::min(w.stride[2], w.input[2]) * ceilDiv(ceilDiv(w.input[2], w.stride[2]), kPixels);
    return {"grad_input",
            {{SPEC_LANES, lanes}, {SPEC_CHANNELS, static_cast<uint32_t>(channels)}},
            channels,
            lanes * kPixels,
            [=](const Range& rows) { return ceilDiv<int64_t>(rows.size() * units_a_row, lanes); }};
}

}  // namespace pconv::vulkan
