#include "vulkan/device/cooperative_matrix.h"

#include <algorithm>
#include <utility>

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

// The first feature that is not there; "" where all are.
std::string missingFeature(const InstanceApi& api, VkPhysicalDevice device) {
    Features has(nullptr);
    auto all = structure<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
    all.pNext = &has.f16;
    api.GetPhysicalDeviceFeatures2(device, &all);
    const std::pair<const char*, VkBool32> features[] = {
        {"shaderFloat16", has.f16.shaderFloat16},
        {"vulkanMemoryModel", has.memory_model.vulkanMemoryModel},
        {"vulkanMemoryModelDeviceScope", has.memory_model.vulkanMemoryModelDeviceScope},
        {"subgroupSizeControl", has.subgroups.subgroupSizeControl},
        {"computeFullSubgroups", has.subgroups.computeFullSubgroups},
        {"cooperativeMatrix", has.matrices.cooperativeMatrix}};
    for (const auto& [name, there] : features)
        if (there == VK_FALSE) return std::string("the device lacks the feature ") + name;
    return "";
}

// Size of the subgroups that matrices are made for, 32 where a pipeline of compute can be held to one, as
// that is what most matrix units are built for; says what is missing where there is none.
void querySubgroup(const InstanceApi& api, VkPhysicalDevice device, CooperativeMatrix& found) {
    auto sizes = structure<VkPhysicalDeviceSubgroupSizeControlPropertiesEXT>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT);
    auto matrices = structure<VkPhysicalDeviceCooperativeMatrixPropertiesKHR>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR);
    auto all = structure<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
    all.pNext = &sizes;
    sizes.pNext = &matrices;
    api.GetPhysicalDeviceProperties2(device, &all);
    constexpr uint32_t kSubgroups = 8;  // of a workgroup, at most
    // Where all have one size, none can or need be asked for: NVK's have 32.
    found.chosen = sizes.minSubgroupSize != sizes.maxSubgroupSize;
    found.subgroup = std::clamp<uint32_t>(32, sizes.minSubgroupSize, sizes.maxSubgroupSize);
    if ((matrices.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0)
        found.missing = "the device has no cooperative matrices in compute shaders";
    else if (found.chosen && (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) == 0)
        found.missing = "the device's subgroups have several sizes, and compute shaders cannot ask for one";
    else if (sizes.maxComputeWorkgroupSubgroups < kSubgroups || found.subgroup < 8 || found.subgroup > 64)
        found.missing = "the device's subgroups are not 8 to 64 invocations and 8 a workgroup";
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
    found.missing = missingFeature(api, device);
    if (found.missing.empty()) querySubgroup(api, device, found);
    if (found.missing.empty() && properties == nullptr)
        found.missing = "the driver does not say which cooperative matrices it has";
    if (!found.missing.empty()) return found;
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
