// The way in: the loader's functions, or what stands in for them.
#include "shim.h"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace pconv::shim {

namespace {

Settings current;
std::map<std::string, PFN_vkVoidFunction> functions;  // of instances, the same for all

PFN_vkGetInstanceProcAddr loader() {
    static const auto function = [] {
        void* library = dlopen("libvulkan.so.1", RTLD_NOW);
        if (library == nullptr) {
            std::fprintf(stderr, "pconv_vulkan_shim: %s\n", dlerror());
            std::_Exit(2);
        }
        return reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
    }();
    return function;
}

uint64_t number(const char* name) {
    const char* text = std::getenv(name);
    return text != nullptr ? std::strtoull(text, nullptr, 0) : 0;
}

VKAPI_ATTR VkResult VKAPI_CALL createInstance(const VkInstanceCreateInfo* info,
                                              const VkAllocationCallbacks* callbacks, VkInstance* instance) {
    readSettings();
    const auto create = reinterpret_cast<PFN_vkCreateInstance>(loader()(VK_NULL_HANDLE, "vkCreateInstance"));
    const VkResult result = create(info, callbacks, instance);
    if (result == VK_SUCCESS)
        for (const char* name : {"vkCreateDevice", "vkGetDeviceProcAddr", "vkGetPhysicalDeviceProperties",
                                 "vkGetPhysicalDeviceProperties2", "vkGetPhysicalDeviceMemoryProperties",
                                 "vkGetPhysicalDeviceExternalBufferProperties"})
            functions[name] = loader()(*instance, name);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL createDevice(VkPhysicalDevice physical, const VkDeviceCreateInfo* info,
                                            const VkAllocationCallbacks* callbacks, VkDevice* device) {
    VkDeviceCreateInfo changed = *info;
    std::vector<const char*> extensions(info->ppEnabledExtensionNames,
                                        info->ppEnabledExtensionNames + info->enabledExtensionCount);
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables{};
    executables.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
    executables.pipelineExecutableInfo = VK_TRUE;
    if (!settings().statistics.empty()) {
        extensions.push_back(VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME);
        executables.pNext = const_cast<void*>(changed.pNext);
        changed.pNext = &executables;
    }
    changed.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    changed.ppEnabledExtensionNames = extensions.data();
    const VkResult result = PCONV_SHIM_INSTANCE(vkCreateDevice)(physical, &changed, callbacks, device);
    if (result == VK_SUCCESS) prepareChecks(physical, *device);
    return result;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL getDeviceProcAddr(VkDevice device, const char* name) {
    PFN_vkVoidFunction function = deviceFunction(device, name);
    if (function == nullptr) return nullptr;
    for (const auto& find : {memoryFunction, checkedFunction, statisticsFunction})
        if (const PFN_vkVoidFunction other = find(name)) function = other;
    return failingFunction(name, function);
}

}  // namespace

const Settings& settings() {
    return current;
}

void readSettings() {
    current.gpu = number("PCONV_SHIM_GPU") != 0;
    current.check_accesses = number("PCONV_SHIM_CHECK_ACCESSES") != 0;
    current.vendor = number("PCONV_SHIM_VENDOR");
    current.range = number("PCONV_SHIM_RANGE");
    current.storage_buffers = number("PCONV_SHIM_STORAGE_BUFFERS");
    current.timestamp_period = number("PCONV_SHIM_TIMESTAMP_PERIOD");
    current.device_heap = number("PCONV_SHIM_DEVICE_HEAP");
    current.no_import = number("PCONV_SHIM_NO_IMPORT");
    const char* file = std::getenv("PCONV_SHIM_STATISTICS");
    current.statistics = file != nullptr ? file : "";
}

PFN_vkVoidFunction instanceFunction(const char* name) {
    return functions.at(name);
}

PFN_vkVoidFunction deviceFunction(VkDevice device, const char* name) {
    return PCONV_SHIM_INSTANCE(vkGetDeviceProcAddr)(device, name);
}

}  // namespace pconv::shim

extern "C" __attribute__((visibility("default"))) VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL
vkGetInstanceProcAddr(VkInstance instance, const char* name) {
    using namespace pconv::shim;
    if (std::strcmp(name, "vkCreateInstance") == 0)
        return reinterpret_cast<PFN_vkVoidFunction>(createInstance);
    if (std::strcmp(name, "vkCreateDevice") == 0) return reinterpret_cast<PFN_vkVoidFunction>(createDevice);
    if (std::strcmp(name, "vkGetDeviceProcAddr") == 0)
        return reinterpret_cast<PFN_vkVoidFunction>(getDeviceProcAddr);
    if (const PFN_vkVoidFunction pretended = pretendedFunction(name)) return pretended;
    return loader()(instance, name);
}
