#include "vulkan/device/api.h"

#include <cstdlib>

namespace pconv::vulkan {

std::unique_ptr<Loader> Loader::open(std::string& reason) {
#if defined(_WIN32)
    const char* const names[] = {"vulkan-1.dll"};
#elif defined(__APPLE__)
    const char* const names[] = {"libvulkan.1.dylib", "libvulkan.dylib", "libMoltenVK.dylib"};
#else
    const char* const names[] = {"libvulkan.so.1", "libvulkan.so"};
#endif
    platform::DynamicLibrary library;
    bool opened = false;
    std::string detail;
    const char* chosen = std::getenv("PCONV_VULKAN_LOADER");
    if (chosen != nullptr) {
        opened = library.open(chosen, detail);
    } else {
        for (const char* name : names)
            if (!opened) opened = library.open(name, detail);
    }
    if (!opened) {
        reason = "no Vulkan loader: " + detail;
        return nullptr;
    }
    auto loader = std::make_unique<Loader>();
    loader->GetInstanceProcAddr =
        reinterpret_cast<PFN_vkGetInstanceProcAddr>(library.symbol("vkGetInstanceProcAddr"));
    if (loader->GetInstanceProcAddr == nullptr) {
        reason = "the Vulkan loader has no vkGetInstanceProcAddr";
        return nullptr;
    }
    library.keepLoaded();
#define PCONV_VULKAN_LOOK_UP(name) \
    loader->name = reinterpret_cast<PFN_vk##name>(loader->GetInstanceProcAddr(VK_NULL_HANDLE, "vk" #name));
    PCONV_VULKAN_GLOBAL_FUNCTIONS(PCONV_VULKAN_LOOK_UP)
#undef PCONV_VULKAN_LOOK_UP
    if (loader->EnumerateInstanceVersion == nullptr) {
        reason = "the Vulkan loader knows only Vulkan 1.0; 1.1 is needed";
        return nullptr;
    }
    return loader;
}

void InstanceApi::load(const Loader& loader, VkInstance instance) {
#define PCONV_VULKAN_LOOK_UP(name) \
    name = reinterpret_cast<PFN_vk##name>(loader.GetInstanceProcAddr(instance, "vk" #name));
    PCONV_VULKAN_INSTANCE_FUNCTIONS(PCONV_VULKAN_LOOK_UP)
    GetPhysicalDeviceCooperativeMatrixPropertiesKHR =
        loader.GetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
#undef PCONV_VULKAN_LOOK_UP
}

void DeviceApi::load(const InstanceApi& instance, VkDevice device) {
#define PCONV_VULKAN_LOOK_UP(name) \
    name = reinterpret_cast<PFN_vk##name>(instance.GetDeviceProcAddr(device, "vk" #name));
    PCONV_VULKAN_DEVICE_FUNCTIONS(PCONV_VULKAN_LOOK_UP)
    PCONV_VULKAN_LOOK_UP(GetMemoryHostPointerPropertiesEXT)
#undef PCONV_VULKAN_LOOK_UP
}

void check(VkResult result, const char* what) {
    if (result >= 0) return;
    const std::string line = std::string(what) + " failed: ";
    switch (result) {
        case VK_ERROR_OUT_OF_HOST_MEMORY:
            fail(PCONV_ERROR_OUT_OF_MEMORY, line + "the driver is out of host memory");
        case VK_ERROR_OUT_OF_DEVICE_MEMORY:
            fail(PCONV_ERROR_OUT_OF_MEMORY, line + "the device is out of memory");
        case VK_ERROR_DEVICE_LOST:
            fail(PCONV_ERROR_DEVICE, line + "the device was lost");
        default:
            fail(PCONV_ERROR_DEVICE, line + "the driver answered " + std::to_string(result));
    }
}

}  // namespace pconv::vulkan
