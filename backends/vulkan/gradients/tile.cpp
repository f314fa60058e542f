#include "vulkan/gradients/tile.h"

namespace pconv::vulkan {

// The same on software devices, which larger parts of an invocation would suit better: what they test is what
// GPUs run.
GradTile gradTile(int64_t of_group) {
    constexpr uint32_t kThread = 4;  // an invocation's part of the tile, in both directions
    constexpr auto kColumns = static_cast<uint32_t>(GradTile::kColumns);
    const uint32_t channels = of_group > 32 ? 64 : of_group > 16 ? 32 : 16;
    return {channels,
            {{SPEC_LANES, channels / kThread * (kColumns / kThread)},
             {SPEC_BLOCK_M, channels},
             {SPEC_BLOCK_N, kColumns},
             {SPEC_BLOCK_K, 16},
             {SPEC_THREAD_M, kThread},
             {SPEC_THREAD_N, kThread}}};
}

}  // namespace pconv::vulkan
