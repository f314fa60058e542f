// What the device says of itself.
#include <cstring>

#include "shim.h"

namespace pconv::shim {

namespace {

void pretend(VkPhysicalDeviceProperties& properties) {
    VkPhysicalDeviceLimits& limits = properties.limits;
    const Settings& wanted = settings();
    if (wanted.gpu) {
        properties.deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
        limits.minStorageBufferOffsetAlignment = 256;
        limits.minUniformBufferOffsetAlignment = 256;
        limits.nonCoherentAtomSize = 64;
        for (uint32_t& count : limits.maxComputeWorkGroupCount) count = 65535;
    }
    if (wanted.vendor != 0) properties.vendorID = static_cast<uint32_t>(wanted.vendor);
    if (wanted.range != 0) limits.maxStorageBufferRange = static_cast<uint32_t>(wanted.range);
    if (wanted.storage_buffers != 0)
        limits.maxPerStageDescriptorStorageBuffers = static_cast<uint32_t>(wanted.storage_buffers);
    if (wanted.timestamp_period != 0) limits.timestampPeriod = static_cast<float>(wanted.timestamp_period);
}

VKAPI_ATTR void VKAPI_CALL getProperties(VkPhysicalDevice device, VkPhysicalDeviceProperties* properties) {
    PCONV_SHIM_INSTANCE(vkGetPhysicalDeviceProperties)(device, properties);
    pretend(*properties);
}

VKAPI_ATTR void VKAPI_CALL getProperties2(VkPhysicalDevice device, VkPhysicalDeviceProperties2* properties) {
    PCONV_SHIM_INSTANCE(vkGetPhysicalDeviceProperties2)(device, properties);
    pretend(properties->properties);
}

// Three types over the one that software devices have; see memory.cpp.
VKAPI_ATTR void VKAPI_CALL getMemory(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties* memory) {
    PCONV_SHIM_INSTANCE(vkGetPhysicalDeviceMemoryProperties)(device, memory);
    if (!settings().gpu) return;
    const VkDeviceSize size = memory->memoryHeaps[0].size;
    *memory = {};
    memory->memoryHeapCount = 2;
    memory->memoryHeaps[0] = {settings().device_heap != 0 ? settings().device_heap : size,
                              VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    memory->memoryHeaps[1] = {size, 0};
    memory->memoryTypeCount = 3;
    memory->memoryTypes[0] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    memory->memoryTypes[1] = {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT, 1};
    memory->memoryTypes[2] = {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, 1};
}

VKAPI_ATTR void VKAPI_CALL getExternalBuffers(VkPhysicalDevice device,
                                              const VkPhysicalDeviceExternalBufferInfo* info,
                                              VkExternalBufferProperties* properties) {
    PCONV_SHIM_INSTANCE(vkGetPhysicalDeviceExternalBufferProperties)(device, info, properties);
    VkExternalMemoryFeatureFlags& features = properties->externalMemoryProperties.externalMemoryFeatures;
    if (settings().no_import == 1) features = 0;
    if (settings().no_import == 2) features |= VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT;
}

}  // namespace

PFN_vkVoidFunction pretendedFunction(const char* name) {
    if (std::strcmp(name, "vkGetPhysicalDeviceProperties") == 0)
        return reinterpret_cast<PFN_vkVoidFunction>(getProperties);
    if (std::strcmp(name, "vkGetPhysicalDeviceProperties2") == 0)
        return reinterpret_cast<PFN_vkVoidFunction>(getProperties2);
    if (std::strcmp(name, "vkGetPhysicalDeviceMemoryProperties") == 0)
        return reinterpret_cast<PFN_vkVoidFunction>(getMemory);
    if (std::strcmp(name, "vkGetPhysicalDeviceExternalBufferProperties") == 0)
        return reinterpret_cast<PFN_vkVoidFunction>(getExternalBuffers);
    return nullptr;
}

}  // namespace pconv::shim
