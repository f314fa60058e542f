// vulkan:direct, register tiles with uniform weights: for software devices, small problems and depthwise
// convolutions.
#include <algorithm>

#include "vulkan/partial_conv.h"

namespace pconv::vulkan {

namespace {

// Every window unrolled is a pipeline to compile, which pays for the usual ones only: others share one that
// loops.
bool unrolls(const Window& w) {
    return (w.kernel[2] == 3 || w.kernel[2] == 5) && w.dilation[2] == 1 && w.stride[2] <= 2;
}

class Direct final : public VulkanRow {
  public:
    Direct() : VulkanRow("vulkan:direct") {}

  private:
    uint32_t blockChannels(const VulkanDevice& device, const PartialConvDesc& desc) const override;
    KernelChoice choose(const VulkanDevice& device, const PartialConvDesc& desc) const override;
};

uint32_t Direct::blockChannels(const VulkanDevice& /*device*/, const PartialConvDesc& desc) const {
    uint32_t channels = 1;
    while (channels < 8 && channels < desc.out_channels / desc.groups) channels *= 2;
    return channels;
}

KernelChoice Direct::choose(const VulkanDevice& device, const PartialConvDesc& desc) const {
    const Window& w = desc.window;
    const int64_t group_out = desc.out_channels / desc.groups;
    const uint32_t channels = blockChannels(device, desc);
    const int64_t tile_w = tileWidth(w);
    const int64_t tile_h = tileHeight(device.capabilities(), w);
    const bool unroll = unrolls(w);
    // Wider workgroups gain a software device nothing, and a GPU wants at least one full subgroup.
    const bool software = device.info().type == DeviceType::software;
    const uint32_t lanes = software ? device.capabilities().subgroup_size : 64;

    KernelChoice choice;
    choice.shader = "partial_conv_direct";
    choice.constants = {{SPEC_LANES, lanes},
                        {SPEC_CHANNELS, channels},
                        {SPEC_ROWS, static_cast<uint32_t>(tile_h)},
                        {SPEC_PIXELS, static_cast<uint32_t>(tile_w)},
                        {SPEC_TAPS, unroll ? static_cast<uint32_t>(w.kernel[2]) : 1},
                        {SPEC_STRIDE_W, unroll ? static_cast<uint32_t>(w.stride[2]) : 1}};
    PlanKernel& plan = choice.plan;
    plan.block_channels = channels;
    plan.blocks_a_group = ceilDiv<int64_t>(group_out, channels);
    const int64_t depth = desc.in_channels / desc.groups * volume(w.kernel);
    // Bindings start at blocks, so these keep any alignment.
    plan.block_bytes = ceilDiv<int64_t>((depth + 1) * channels * 4, 256) * 256;
    plan.unit_h = tile_h;
    plan.units_a_row = ceilDiv<int64_t>(w.output[2], tile_w);
    plan.units_a_workgroup = lanes;
    return choice;
}

}  // namespace

const Implementation& vulkanDirect() {
    static const Direct row;
    return row;
}

}  // namespace pconv::vulkan
