// A Vulkan instance and the physical devices it shows; optionally under the validation layer.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "vulkan/device/api.h"

namespace pconv::vulkan {

// What the validation layer said, warnings and errors.
class ValidationLog {
  public:
    void add(const char* text);
    size_t count() const { return count_; }
    std::string first() const;

  private:
    mutable std::mutex mutex_;
    std::atomic<size_t> count_{0};
    std::string first_;
};

class Instance {
  public:
    // Null with the reason where there is no loader, no driver, or no validation layer though
    // PCONV_VULKAN_VALIDATION=1 asks for it.
    static std::shared_ptr<Instance> create(std::string& reason);
    // The host's own, which was made for Vulkan 1.1 or later: its functions, and nothing that is destroyed.
    // Throws Error where the loader or what is needed of Vulkan is not there.
    static std::shared_ptr<Instance> borrow(VkInstance instance);
    // What PCONV_VULKAN_VALIDATION says.
    static bool wantsValidation();
    Instance() = default;
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;
    ~Instance();

    const InstanceApi& api() const { return api_; }
    // Devices with Vulkan 1.1 and a compute queue; of a borrowed instance all.
    const std::vector<VkPhysicalDevice>& devices() const { return devices_; }
    bool validating() const { return messenger_ != VK_NULL_HANDLE; }
    // Throws Error where the validation layer has said anything.
    void checkValidation() const;

  private:
    bool createInstance(std::string& reason);
    std::vector<VkPhysicalDevice> allDevices() const;
    void findDevices(std::string& reason);

    std::unique_ptr<Loader> loader_;
    InstanceApi api_;
    VkInstance instance_ = VK_NULL_HANDLE;
    bool owned_ = true;
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    std::vector<VkPhysicalDevice> devices_;
    ValidationLog log_;
};

// The first compute queue family of a device, preferring one that does graphics too: it is the one never
// shared with background work; -1 if there is none.
int computeQueueFamily(const InstanceApi& api, VkPhysicalDevice device);

}  // namespace pconv::vulkan
