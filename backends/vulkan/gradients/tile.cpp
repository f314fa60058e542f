#include "vulkan/gradients/tile.h"

namespace pconv::vulkan {

// The same on software devices as on GPUs with as many registers: what they test is what GPUs run.
GradTile gradTile(const GradContext& context, int64_t of_group) {
    constexpr auto kColumns = static_cast<uint32_t>(GradTile::kColumns);
    const uint32_t channels = of_group > 32 ? 64 : of_group > 16 ? 32 : 16;
    // An invocation's part of the tile. Compensated sums take three registers an element.
    constexpr uint32_t kRows = 4;
    const uint32_t columns = channels == 16 || context.device.capabilities().few_registers ? 4 : 8;
    return {channels,
            {{SPEC_LANES, channels / kRows * (kColumns / columns)},
             {SPEC_BLOCK_M, channels},
             {SPEC_BLOCK_N, kColumns},
             {SPEC_BLOCK_K, 16},
             {SPEC_THREAD_M, kRows},
             {SPEC_THREAD_N, columns}}};
}

}  // namespace pconv::vulkan
