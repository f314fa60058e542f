// What the core looks up in this module.
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "vulkan/device/device.h"

namespace {

using pconv::vulkan::Instance;

// Held for the rest of the process: drivers load slowly and do not unload cleanly.
std::shared_ptr<Instance> heldInstance(std::string& reason) {
    static std::mutex mutex;
    static auto* const held = new std::map<bool, std::shared_ptr<Instance>>;
    const std::lock_guard<std::mutex> lock(mutex);
    auto& instance = (*held)[Instance::wantsValidation()];
    if (instance == nullptr) instance = Instance::create(reason);
    return instance;
}

void enumerate(std::vector<pconv::DeviceInfo>& devices, std::string& reason) {
    const auto instance = heldInstance(reason);
    if (instance == nullptr) return;
    for (VkPhysicalDevice device : instance->devices())
        devices.push_back(pconv::vulkan::queryCapabilities(instance->api(), device).info);
}

std::unique_ptr<pconv::Device> open(int index, pconv::Host& host) {
    std::string reason;
    auto instance = heldInstance(reason);
    if (instance == nullptr) pconv::fail(PCONV_ERROR_NO_DEVICE, "no vulkan device: " + reason);
    if (static_cast<size_t>(index) >= instance->devices().size())
        pconv::fail(PCONV_ERROR_NO_DEVICE, "the vulkan device is no longer present");
    VkPhysicalDevice physical = instance->devices()[static_cast<size_t>(index)];
    return std::make_unique<pconv::vulkan::VulkanDevice>(std::move(instance), physical, host);
}

std::unique_ptr<pconv::Device> adopt(const pconv::NativeDevice& native, pconv::Host& host) {
    const std::pair<const char*, const void*> handles[] = {
        {"vulkan_instance", native.vulkan_instance},
        {"vulkan_physical_device", native.vulkan_physical_device},
        {"vulkan_device", native.vulkan_device},
        {"vulkan_queue", native.vulkan_queue}};
    for (const auto& [name, handle] : handles)
        if (handle == nullptr)
            pconv::fail(PCONV_ERROR_INVALID_ARGUMENT, "native->" + std::string(name) + " is null");
    auto instance = Instance::borrow(static_cast<VkInstance>(native.vulkan_instance));
    const pconv::vulkan::BorrowedDevice lent = pconv::vulkan::checkNative(native, *instance);
    return std::make_unique<pconv::vulkan::VulkanDevice>(
        std::move(instance), static_cast<VkPhysicalDevice>(native.vulkan_physical_device), host, &lent);
}

}  // namespace

PCONV_MODULE_EXPORT const pconv::BackendModule* pconvBackend_vulkan() {
    static const pconv::BackendModule module{pconv::kBackendVersion, "vulkan", enumerate, open, adopt};
    return &module;
}
