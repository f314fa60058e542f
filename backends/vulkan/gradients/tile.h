// The tile of a gradient's matrix product, as both have it.
#pragma once

#include "vulkan/gradients/context.h"

namespace pconv::vulkan {

struct GradTile {
    static constexpr int64_t kColumns = 64;
    int64_t channels;
    Specialization constants;
};

// For the channels of a group.
GradTile gradTile(const GradContext& context, int64_t of_group);

}  // namespace pconv::vulkan
