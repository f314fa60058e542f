// vulkan:gemm, an implicit matrix product through shared memory: what a GPU wants.
#include "vulkan/partial_conv.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kBlockN = 64;
constexpr uint32_t kBlockK = 16;

// An invocation's part of the tile, rows and columns: larger ones read less of shared memory for each
// product, and spill where registers are few. A workgroup has at least 64 invocations, and no more than there
// are eights of a slice of the input.
struct Part {
    uint32_t m, n;
};
Part partOf(const VulkanDevice& device, uint32_t channels) {
    if (channels < 32) return {4, 4};
    return channels == 32 || device.capabilities().few_registers ? Part{4, 8} : Part{8, 8};
}

class Gemm final : public VulkanRow {
  public:
    Gemm() : VulkanRow("vulkan:gemm") {}

  private:
    uint32_t blockChannels(const VulkanDevice& device, const PartialConvDesc& desc) const override;
    KernelChoice choose(const VulkanDevice& device, const PartialConvDesc& desc) const override;
    std::string objection(const VulkanDevice& device, const PartialConvDesc& desc) const override;
};

uint32_t Gemm::blockChannels(const VulkanDevice& device, const PartialConvDesc& desc) const {
    const int64_t group_out = desc.out_channels / desc.groups;
    const uint32_t most = device.capabilities().few_registers ? 64 : 128;
    return productBlock(device, desc, kBlockN,
                        group_out >= 128 ? most
                        : group_out > 32 ? 64
                        : group_out > 16 ? 32
                                         : 16,
                        16);
}

KernelChoice Gemm::choose(const VulkanDevice& device, const PartialConvDesc& desc) const {
    const uint32_t channels = blockChannels(device, desc);
    const Part part = partOf(device, channels);
    KernelChoice choice;
    choice.shader = "partial_conv_gemm";
    choice.constants = {{SPEC_LANES, channels / part.m * (kBlockN / part.n)},
                        {SPEC_THREAD_M, part.m},
                        {SPEC_THREAD_N, part.n}};
    planProduct(device, desc, {channels, kBlockN, kBlockK, 4}, choice);
    return choice;
}

std::string Gemm::objection(const VulkanDevice& device, const PartialConvDesc& /*desc*/) const {
    return productObjection(device);
}

}  // namespace

const Implementation& vulkanGemm() {
    static const Gemm row;
    return row;
}

}  // namespace pconv::vulkan
