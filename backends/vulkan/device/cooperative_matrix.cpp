#include "vulkan/device/cooperative_matrix.h"

#include <algorithm>

namespace pconv::vulkan {

const std::vector<const char*>& cooperativeMatrixExtensions() {
    static const std::vector<const char*> names{
        "VK_KHR_cooperative_matrix", VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME,
        VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME};
    return names;
}

#ifdef PCONV_COOPERATIVE_MATRICES

namespace {

// As a chain, which begins with f16.
struct Features {
    explicit Features(void* next) {
        f16.pNext = &memory_model;
        memory_model.pNext = &subgroups;
        subgroups.pNext = &matrices;
        matrices.pNext = next;
    }
    VkPhysicalDeviceShaderFloat16Int8Features f16 = structure<VkPhysicalDeviceShaderFloat16Int8Features>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES);
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model =
        structure<VkPhysicalDeviceVulkanMemoryModelFeatures>(
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES);
    VkPhysicalDeviceSubgroupSizeControlFeaturesEXT subgroups =
        structure<VkPhysicalDeviceSubgroupSizeControlFeaturesEXT>(
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES_EXT);
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices =
        structure<VkPhysicalDeviceCooperativeMatrixFeaturesKHR>(
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR);
};

// Tiles are made of whole matrices, and eights of a slice's depth of 32.
bool suits(const VkCooperativeMatrixPropertiesKHR& offered) {
    const auto divides = [](uint32_t size, uint32_t least) {
        return size >= least && size <= 32 && (size & (size - 1)) == 0;
    };
    return offered.scope == VK_SCOPE_SUBGROUP_KHR && offered.AType == VK_COMPONENT_TYPE_FLOAT16_KHR &&
           offered.BType == VK_COMPONENT_TYPE_FLOAT16_KHR && offered.CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           offered.ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
           offered.saturatingAccumulation == VK_FALSE && divides(offered.MSize, 8) &&
           divides(offered.NSize, 8) && divides(offered.KSize, 8);
}

bool hasFeatures(const InstanceApi& api, VkPhysicalDevice device) {
    Features has(nullptr);
    auto all = structure<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
    all.pNext = &has.f16;
    api.GetPhysicalDeviceFeatures2(device, &all);
    return has.f16.shaderFloat16 == VK_TRUE && has.memory_model.vulkanMemoryModel == VK_TRUE &&
           has.memory_model.vulkanMemoryModelDeviceScope == VK_TRUE &&
           has.subgroups.subgroupSizeControl == VK_TRUE && has.subgroups.computeFullSubgroups == VK_TRUE &&
           has.matrices.cooperativeMatrix == VK_TRUE;
}

// Of subgroups that a pipeline of compute can be held to, and that matrices are made for: 32 where the device
// has a choice, as that is what most matrix units are built for. 0 where there is none.
uint32_t subgroupSize(const InstanceApi& api, VkPhysicalDevice device) {
    auto sizes = structure<VkPhysicalDeviceSubgroupSizeControlPropertiesEXT>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT);
    auto matrices = structure<VkPhysicalDeviceCooperativeMatrixPropertiesKHR>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR);
    auto all = structure<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
    all.pNext = &sizes;
    sizes.pNext = &matrices;
    api.GetPhysicalDeviceProperties2(device, &all);
    constexpr uint32_t kSubgroups = 8;  // of a workgroup, at most
    if ((sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0 ||
        sizes.maxComputeWorkgroupSubgroups < kSubgroups ||
        (matrices.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0)
        return 0;
    const uint32_t size = std::clamp<uint32_t>(32, sizes.minSubgroupSize, sizes.maxSubgroupSize);
    return size >= 8 && size <= 64 ? size : 0;
}

}  // namespace

std::shared_ptr<void> cooperativeMatrixFeatures(void* next) {
    auto features = std::make_shared<Features>(next);
    features->f16.shaderFloat16 = VK_TRUE;
    features->memory_model.vulkanMemoryModel = VK_TRUE;
    // With the model enabled the atomics of the other shaders need it.
    features->memory_model.vulkanMemoryModelDeviceScope = VK_TRUE;
    features->subgroups.subgroupSizeControl = VK_TRUE;
    features->subgroups.computeFullSubgroups = VK_TRUE;
    features->matrices.cooperativeMatrix = VK_TRUE;
    return {features, &features->f16};
}

CooperativeMatrix queryCooperativeMatrix(const InstanceApi& api, VkPhysicalDevice device,
                                         const std::vector<std::string>& extensions) {
    CooperativeMatrix found;
    for (const char* needed : cooperativeMatrixExtensions())
        if (std::find(extensions.begin(), extensions.end(), needed) == extensions.end()) {
            found.missing = std::string("the device has no ") + needed;
            return found;
        }
    const auto properties = reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR>(
        api.GetPhysicalDeviceCooperativeMatrixPropertiesKHR);
    found.subgroup = subgroupSize(api, device);
    if (!hasFeatures(api, device) || found.subgroup == 0 || properties == nullptr) {
        found.missing =
            "the device's cooperative matrices lack a feature or a size of subgroups that is needed";
        return found;
    }
    uint32_t count = 0;
    properties(device, &count, nullptr);
    std::vector<VkCooperativeMatrixPropertiesKHR> all(
        count,
        structure<VkCooperativeMatrixPropertiesKHR>(VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR));
    if (properties(device, &count, all.data()) < 0) all.clear();
    // The largest: of each, most products come from what is loaded.
    for (const VkCooperativeMatrixPropertiesKHR& offered : all)
        if (suits(offered) && offered.MSize * offered.NSize * offered.KSize > found.m * found.n * found.k) {
            found.m = offered.MSize;
            found.n = offered.NSize;
            found.k = offered.KSize;
        }
    if (!found) found.missing = "the device has no cooperative matrices of f16 with sums in f32";
    return found;
}

#else

std::shared_ptr<void> cooperativeMatrixFeatures(void* /*next*/) {
    return nullptr;
}

CooperativeMatrix queryCooperativeMatrix(const InstanceApi& /*api*/, VkPhysicalDevice /*device*/,
                                         const std::vector<std::string>& /*extensions*/) {
    CooperativeMatrix none;
    none.missing = "this build has no cooperative matrices: its glslang or Vulkan headers did not know them";
    return none;
}

#endif

}  // namespace pconv::vulkan
