// What the core looks up in this module.
#include <map>
#include <mutex>

#include "vulkan_device.h"

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

}  // namespace

PCONV_MODULE_EXPORT const pconv::BackendModule* pconvBackend_vulkan() {
    static const pconv::BackendModule module{pconv::kBackendVersion, "vulkan", enumerate, open};
    return &module;
}
