// Vulkan's functions, looked up at run time: nothing of this module needs a Vulkan library to be installed.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <memory>
#include <string>

#include "error.h"
#include "platform/dynamic_library.h"

#define PCONV_VULKAN_GLOBAL_FUNCTIONS(X)    \
    X(EnumerateInstanceVersion)             \
    X(EnumerateInstanceLayerProperties)     \
    X(EnumerateInstanceExtensionProperties) \
    X(CreateInstance)

#define PCONV_VULKAN_INSTANCE_FUNCTIONS(X)       \
    X(DestroyInstance)                           \
    X(EnumeratePhysicalDevices)                  \
    X(EnumerateDeviceExtensionProperties)        \
    X(GetPhysicalDeviceFeatures2)                \
    X(GetPhysicalDeviceProperties)               \
    X(GetPhysicalDeviceProperties2)              \
    X(GetPhysicalDeviceMemoryProperties)         \
    X(GetPhysicalDeviceQueueFamilyProperties)    \
    X(GetPhysicalDeviceExternalBufferProperties) \
    X(GetDeviceProcAddr)                         \
    X(CreateDevice)

#define PCONV_VULKAN_DEVICE_FUNCTIONS(X) \
    X(DestroyDevice)                     \
    X(GetDeviceQueue)                    \
    X(QueueWaitIdle)                     \
    X(AllocateMemory)                    \
    X(FreeMemory)                        \
    X(MapMemory)                         \
    X(FlushMappedMemoryRanges)           \
    X(InvalidateMappedMemoryRanges)      \
    X(CreateBuffer)                      \
    X(DestroyBuffer)                     \
    X(GetBufferMemoryRequirements)       \
    X(BindBufferMemory)                  \
    X(CreateShaderModule)                \
    X(DestroyShaderModule)               \
    X(CreateDescriptorSetLayout)         \
    X(DestroyDescriptorSetLayout)        \
    X(CreatePipelineLayout)              \
    X(DestroyPipelineLayout)             \
    X(CreatePipelineCache)               \
    X(DestroyPipelineCache)              \
    X(GetPipelineCacheData)              \
    X(CreateComputePipelines)            \
    X(DestroyPipeline)                   \
    X(CreateDescriptorPool)              \
    X(DestroyDescriptorPool)             \
    X(ResetDescriptorPool)               \
    X(AllocateDescriptorSets)            \
    X(UpdateDescriptorSets)              \
    X(CreateCommandPool)                 \
    X(DestroyCommandPool)                \
    X(ResetCommandPool)                  \
    X(AllocateCommandBuffers)            \
    X(BeginCommandBuffer)                \
    X(EndCommandBuffer)                  \
    X(CmdBindPipeline)                   \
    X(CmdBindDescriptorSets)             \
    X(CmdPushConstants)                  \
    X(CmdDispatch)                       \
    X(CmdCopyBuffer)                     \
    X(CmdFillBuffer)                     \
    X(CmdPipelineBarrier)                \
    X(CreateFence)                       \
    X(DestroyFence)                      \
    X(GetFenceStatus)                    \
    X(ResetFences)                       \
    X(WaitForFences)                     \
    X(QueueSubmit)                       \
    X(CreateQueryPool)                   \
    X(DestroyQueryPool)                  \
    X(GetQueryPoolResults)               \
    X(CmdResetQueryPool)                 \
    X(CmdWriteTimestamp)

namespace pconv::vulkan {

#define PCONV_VULKAN_MEMBER(name) PFN_vk##name name = nullptr;

// The system's Vulkan loader; stays loaded for the rest of the process, as drivers do not unload cleanly.
struct Loader {
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
    PCONV_VULKAN_GLOBAL_FUNCTIONS(PCONV_VULKAN_MEMBER)
    // Null with the reason where there is none. PCONV_VULKAN_LOADER names another library to open.
    static std::unique_ptr<Loader> open(std::string& reason);
};

struct InstanceApi {
    PCONV_VULKAN_INSTANCE_FUNCTIONS(PCONV_VULKAN_MEMBER)
    // vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR; null where no device has it.
    PFN_vkVoidFunction GetPhysicalDeviceCooperativeMatrixPropertiesKHR = nullptr;
    void load(const Loader& loader, VkInstance instance);
};

struct DeviceApi {
    PCONV_VULKAN_DEVICE_FUNCTIONS(PCONV_VULKAN_MEMBER)
    // From VK_EXT_external_memory_host; null without it.
    PFN_vkGetMemoryHostPointerPropertiesEXT GetMemoryHostPointerPropertiesEXT = nullptr;
    void load(const InstanceApi& instance, VkDevice device);
};

#undef PCONV_VULKAN_MEMBER

// One of Vulkan's tagged structures, all else zero.
template <typename T>
T structure(VkStructureType type) {
    T value{};
    value.sType = type;
    return value;
}

// Throws Error where `result` is a failure; `what` says what was tried.
void check(VkResult result, const char* what);

}  // namespace pconv::vulkan
