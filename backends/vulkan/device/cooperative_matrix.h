// VK_KHR_cooperative_matrix: which matrices a device multiplies, and what has to be enabled for it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "vulkan/device/api.h"

namespace pconv::vulkan {

// Products of f16 matrices of m x k and k x n with sums in f32, made by a subgroup.
struct CooperativeMatrix {
    uint32_t m = 0, n = 0, k = 0;  // 0: the device has none that suit
    uint32_t subgroup = 0;         // invocations
    bool chosen = false;           // pipelines must be held to that size: the device has others
    std::string missing;           // why there are none
    explicit operator bool() const { return m != 0; }
};

// Of `extensions`, those that the device has. Needs a build that knows the extension, f16 arithmetic, the
// Vulkan memory model and subgroups of one size, or whose size can be required.
CooperativeMatrix queryCooperativeMatrix(const InstanceApi& api, VkPhysicalDevice device,
                                         const std::vector<std::string>& extensions);

// What a device is made with for it.
const std::vector<const char*>& cooperativeMatrixExtensions();
// Features to enable, as a chain that goes on with `next`; they live as long as what is returned.
std::shared_ptr<void> cooperativeMatrixFeatures(void* next);

}  // namespace pconv::vulkan
