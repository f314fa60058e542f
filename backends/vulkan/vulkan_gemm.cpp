// vulkan:gemm, an implicit matrix product through shared memory: what a GPU wants.
#include "vulkan_partial_conv.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kBlockN = 64;
constexpr uint32_t kBlockK = 16;
constexpr uint32_t kThread = 4;  // an invocation's part of the tile, in both directions

uint32_t blockChannels(int64_t group_out) {
    return group_out > 32 ? 64 : group_out > 16 ? 32 : 16;
}

KernelChoice choose(const PartialConvDesc& desc) {
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
    return choice;
}

class Gemm final : public Implementation {
  public:
    Gemm() : Implementation("vulkan:gemm") {}

    bool trains() const override { return true; }
    bool masksConvolutions() const override { return true; }

    bool supports(const Device& device, const PartialConvDesc& desc, std::string& reason) const override {
        const auto& own = static_cast<const VulkanDevice&>(device);
        reason = commonObjection(own, desc, blockChannels(desc.out_channels / desc.groups));
        // Where it comes first, it leaves to vulkan:direct what would run most of its lanes empty.
        if (reason.empty() && own.info().type != DeviceType::software && desc.out_channels / desc.groups < 8)
            reason = "fewer than 8 output channels a group leave its tiles empty";
        const VkPhysicalDeviceLimits& limits = own.capabilities().properties.limits;
        if (reason.empty() && limits.maxComputeWorkGroupInvocations < 256)
            reason = "the device's workgroups have fewer than 256 invocations";
        return reason.empty();
    }

    std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                               const MaskForm& form,
                                               const MaskPlanes& results) const override {
        return std::make_unique<VulkanMaskUpdate>(static_cast<VulkanDevice&>(device), desc, form, results);
    }

    std::unique_ptr<PartialConv> makePartialConv(Device& device, const PartialConvDesc& desc) const override {
        return std::make_unique<VulkanPartialConv>(static_cast<VulkanDevice&>(device), desc, choose(desc));
    }
};

}  // namespace

const Implementation& vulkanGemm() {
    static const Gemm row;
    return row;
}

}  // namespace pconv::vulkan
