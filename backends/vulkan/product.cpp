// What vulkan:gemm and vulkan:coopmat share: how a convolution's matrix product is cut into workgroups, the
// blocks of channels and the parts of its depth.
#include <algorithm>

#include "vulkan/partial_conv.h"

namespace pconv::vulkan {

namespace {

// Fewer than these leave a device without work: two a core of a large GPU. A software device has a few, so
// that tests meet depths that are cut and such as are not.
int64_t wantedWorkgroups(const VulkanDevice& device) {
    return device.info().type == DeviceType::software ? 4 : 256;
}

// Of a part: bringing its sums to memory and back must not cost what it saves.
int64_t leastDepth(const VulkanDevice& device) {
    return device.info().type == DeviceType::software ? 32 : 256;
}

int64_t depthOf(const PartialConvDesc& desc) {
    return desc.in_channels / desc.groups * volume(desc.window.kernel);
}

int64_t tilesOf(const PartialConvDesc& desc, int64_t channels, int64_t columns) {
    return ceilDiv(desc.out_channels / desc.groups, channels) * desc.groups *
           ceilDiv(desc.batch * volume(desc.window.output), columns);
}

int64_t mostParts(const VulkanDevice& device, const PartialConvDesc& desc) {
    return std::max<int64_t>(1, depthOf(desc) / leastDepth(device));
}

// Has the depth cut where the tiles are fewer workgroups than keep the device busy.
void cutDepth(const VulkanDevice& device, const PartialConvDesc& desc, int64_t step, KernelChoice& choice) {
    PlanKernel& plan = choice.plan;
    plan.merges_images = true;
    const int64_t tiles = tilesOf(desc, plan.block_channels, plan.units_a_workgroup);
    const int64_t parts = std::min(mostParts(device, desc), ceilDiv(wantedWorkgroups(device), tiles));
    choice.part_depth = ceilDiv(ceilDiv(depthOf(desc), std::max<int64_t>(1, parts)), step) * step;
    plan.parts = ceilDiv(depthOf(desc), choice.part_depth);
    const PlanLimits limits = device.limits();
    const int64_t rows = plan.blocks_a_group * desc.groups * plan.block_channels;
    const int64_t columns =
        ceilDiv<int64_t>(desc.batch * volume(desc.window.output), plan.units_a_workgroup) *
        plan.units_a_workgroup;
    if (plan.parts * rows * columns * 4 > limits.max_range || rows > limits.max_groups[1] ||
        plan.parts > limits.max_groups[2])
        plan.parts = 1;
    choice.constants[SPEC_CUT] = plan.parts > 1 ? 1 : 0;
}

}  // namespace

uint32_t productBlock(const VulkanDevice& device, const PartialConvDesc& desc, int64_t columns, uint32_t most,
                      uint32_t least) {
    if (device.info().type == DeviceType::software) return most;
    uint32_t channels = most;
    while (channels > least &&
           tilesOf(desc, channels, columns) < ceilDiv(wantedWorkgroups(device), mostParts(device, desc)))
        channels /= 2;
    return channels;
}

void planProduct(const VulkanDevice& device, const PartialConvDesc& desc, const ProductTile& tile,
                 KernelChoice& choice) {
    choice.constants[SPEC_BLOCK_M] = tile.channels;
    choice.constants[SPEC_BLOCK_N] = tile.columns;
    choice.constants[SPEC_BLOCK_K] = tile.depth;
    PlanKernel& plan = choice.plan;
    plan.block_channels = tile.channels;
    plan.blocks_a_group = ceilDiv<int64_t>(desc.out_channels / desc.groups, tile.channels);
    const int64_t depth = ceilDiv<int64_t>(depthOf(desc), tile.depth) * tile.depth;
    plan.block_bytes = ceilDiv<int64_t>(tile.channels * (4 + depth * tile.weight_bytes), 256) * 256;
    plan.unit_h = 1;
    plan.units_a_row = desc.window.output[2];
    plan.units_a_workgroup = tile.columns;
    cutDepth(device, desc, tile.depth, choice);
    // A row of the mask has the bits of 32 columns of the window, for all channels that share the mask.
    const Window& w = desc.window;
    const bool two_rows = !(desc.multi_channel && desc.maskInput()) &&
                          w.kernel[2] * desc.in_channels / desc.groups >= 8 &&
                          (w.kernel[2] - 1) * w.dilation[2] < 32;
    choice.constants[SPEC_TWO_ROWS] = two_rows ? 1 : 0;
    choice.backward_by_products = true;
}

std::string productObjection(const VulkanDevice& device) {
    // What the gradients' tiles take where registers are few; other tiles take 128 at most, which all have.
    const Capabilities& capabilities = device.capabilities();
    if (capabilities.few_registers && capabilities.properties.limits.maxComputeWorkGroupInvocations < 256)
        return "the device's workgroups have fewer than 256 invocations";
    return "";
}

}  // namespace pconv::vulkan
