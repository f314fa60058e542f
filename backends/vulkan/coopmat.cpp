// vulkan:coopmat, the implicit matrix product by cooperative matrices: for f16 on GPUs with matrix units.
#include <algorithm>

#include "vulkan/partial_conv.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kBlockN = 64;
constexpr uint32_t kBlockK = 32;
constexpr uint32_t kLeastChannels = 32;

class Coopmat final : public VulkanRow {
  public:
    Coopmat() : VulkanRow("vulkan:coopmat") {}

  private:
    uint32_t blockChannels(const VulkanDevice& device, const PartialConvDesc& desc) const override;
    KernelChoice choose(const VulkanDevice& device, const PartialConvDesc& desc) const override;
    std::string objection(const VulkanDevice& device, const PartialConvDesc& desc) const override;
};

uint32_t Coopmat::blockChannels(const VulkanDevice& device, const PartialConvDesc& desc) const {
    const int64_t group_out = desc.out_channels / desc.groups;
    return productBlock(device, desc, kBlockN,
                        group_out >= 128 ? 128
                        : group_out > 32 ? 64
                                         : 32,
                        kLeastChannels);
}

KernelChoice Coopmat::choose(const VulkanDevice& device, const PartialConvDesc& desc) const {
    const CooperativeMatrix& matrix = device.capabilities().matrices;
    const uint32_t channels = blockChannels(device, desc);
    // 128 invocations, of which each subgroup makes a part of the tile that is as square as matrices allow.
    const uint32_t subgroups = std::clamp<uint32_t>(128 / matrix.subgroup, 1, 8);
    uint32_t subgroups_m = std::max<uint32_t>(1, subgroups / 2);
    while (subgroups_m > 1 && channels / subgroups_m < matrix.m) subgroups_m /= 2;

    KernelChoice choice;
    choice.shader = "partial_conv_coopmat";
    choice.half_slices = kBlockK;
    choice.constants = {{SPEC_LANES, subgroups * matrix.subgroup},
                        {SPEC_SUBGROUP, matrix.subgroup},
                        {SPEC_MATRIX_M, matrix.m},
                        {SPEC_MATRIX_N, matrix.n},
                        {SPEC_MATRIX_K, matrix.k},
                        {SPEC_SUBGROUPS_M, subgroups_m},
                        {SPEC_SUBGROUPS_N, subgroups / subgroups_m}};
    planProduct(device, desc, {channels, kBlockN, kBlockK, 2}, choice);
    return choice;
}

std::string Coopmat::objection(const VulkanDevice& device, const PartialConvDesc& desc) const {
    const CooperativeMatrix& matrix = device.capabilities().matrices;
    if (!matrix) return matrix.missing;
    if (std::string objection = productObjection(device); !objection.empty()) return objection;
    // The largest tile, sums of the largest matrices included.
    constexpr uint32_t kSharedBytes = 27 * 1024;
    if (device.capabilities().properties.limits.maxComputeSharedMemorySize < kSharedBytes)
        return "the device's workgroups have fewer than 27 KiB of shared memory";
    if (desc.data_type != DataType::f16) return "cooperative matrices are used for f16 only";
    if (desc.mask_type == MaskType::fractional)
        return "a fractional mask's product with the input would be rounded to f16";
    const uint32_t subgroups = std::clamp<uint32_t>(128 / matrix.subgroup, 1, 8);
    if (matrix.n > matrix.subgroup || kLeastChannels / matrix.m * (kBlockN / matrix.n) < subgroups)
        return "the device's cooperative matrices are too large for its subgroups";
    return "";
}

}  // namespace

const Implementation& vulkanCoopmat() {
    static const Coopmat row;
    return row;
}

}  // namespace pconv::vulkan
