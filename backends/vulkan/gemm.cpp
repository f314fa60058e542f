// vulkan:gemm, an implicit matrix product through shared memory: what a GPU wants.
#include "vulkan/partial_conv.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kBlockN = 64;
constexpr uint32_t kBlockK = 16;
constexpr uint32_t kThread = 4;  // an invocation's part of the tile, in both directions

class Gemm final : public VulkanRow {
  public:
    Gemm() : VulkanRow("vulkan:gemm") {}

  private:
    uint32_t blockChannels(int64_t group_out) const override;
    KernelChoice choose(const VulkanDevice& device, const PartialConvDesc& desc) const override;
    std::string objection(const VulkanDevice& device, const PartialConvDesc& desc) const override;
};

uint32_t Gemm::blockChannels(int64_t group_out) const {
    return group_out > 32 ? 64 : group_out > 16 ? 32 : 16;
}

KernelChoice Gemm::choose(const VulkanDevice& /*device*/, const PartialConvDesc& desc) const {
    const Window& w = desc.window;
    const int64_t group_out = desc.out_channels / desc.groups;
    const uint32_t channels = blockChannels(group_out);
    const uint32_t lanes = channels / kThread * (kBlockN / kThread);

    KernelChoice choice;
    choice.shader = "partial_conv_gemm";
    choice.constants = {{SPEC_LANES, lanes},     {SPEC_BLOCK_M, channels}, {SPEC_BLOCK_N, kBlockN},
                        {SPEC_BLOCK_K, kBlockK}, {SPEC_THREAD_M, kThread}, {SPEC_THREAD_N, kThread}};
    PlanKernel& plan = choice.plan;
    plan.block_channels = channels;
    plan.blocks_a_group = ceilDiv<int64_t>(group_out, channels);
    const int64_t depth =
        ceilDiv<int64_t>(desc.in_channels / desc.groups * volume(w.kernel), kBlockK) * kBlockK;
    plan.block_bytes = ceilDiv<int64_t>((depth + 1) * channels * 4, 256) * 256;
    plan.unit_h = 1;
    plan.units_a_row = w.output[2];
    plan.units_a_workgroup = kBlockN;
    choice.backward_by_products = true;
    return choice;
}

std::string Gemm::objection(const VulkanDevice& device, const PartialConvDesc& /*desc*/) const {
    if (device.capabilities().properties.limits.maxComputeWorkGroupInvocations < 256)
        return "the device's workgroups have fewer than 256 invocations";
    return "";
}

}  // namespace

const Implementation& vulkanGemm() {
    static const Gemm row;
    return row;
}

}  // namespace pconv::vulkan
