#include "vulkan_grad_tile.h"

namespace pconv::vulkan {

GradTile gradTile(const VulkanDevice& device, int64_t of_group) {
    const uint32_t channels = of_group > 32 ? 64 : of_group > 16 ? 32 : 16;
    // Software devices read shared memory slowly and have no registers to run out of.
    const bool large = device.info().type == DeviceType::software && channels > 16;
    const uint32_t thread_m = large ? 16 : 4;
    const uint32_t thread_n = large ? 8 : 4;
    const auto columns = static_cast<uint32_t>(GradTile::kColumns);
    return {channels,
            {{SPEC_LANES, channels / thread_m * (columns / thread_n)},
             {SPEC_BLOCK_M, channels},
             {SPEC_BLOCK_N, columns},
             {SPEC_BLOCK_K, 16},
             {SPEC_THREAD_M, thread_m},
             {SPEC_THREAD_N, thread_n}}};
}

}  // namespace pconv::vulkan
