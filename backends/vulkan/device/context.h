// An open Vulkan device: its functions, its one queue, what it offers and how far it goes.
#pragma once

#include <memory>
#include <string>

#include "backend.h"
#include "vulkan/device/cooperative_matrix.h"
#include "vulkan/device/instance.h"

namespace pconv::vulkan {

// What physical devices differ in, as far as this backend looks.
struct Capabilities {
    DeviceInfo info;
    VkPhysicalDeviceProperties properties{};
    uint8_t driver_uuid[VK_UUID_SIZE]{};
    bool storage_f16 = false;         // 16-bit types in storage buffers
    size_t import_alignment = 0;      // of host memory that can be imported; 0: it cannot
    bool import_external = false;     // of other devices' memory
    bool portability_subset = false;  // must be enabled where it is there
    uint32_t subgroup_size = 32;
    CooperativeMatrix matrices;
    // Registers for one row of outputs an invocation, not four.
    bool few_registers = false;
    size_t max_range = 0;               // bytes a storage buffer binding reaches
    size_t binding_alignment = 0;       // of a binding's offset
    uint64_t max_work = 0;              // multiplications of a dispatch, so that no watchdog fires
    uint64_t most_submission_work = 0;  // and of a submission, where the device is found to be fast
    bool watched = false;               // whether there may be a watchdog: not over a software device
    bool map_device_memory = false;     // where the host sees it; else copies are staged
};

// For tests, PCONV_VULKAN_MAX_RANGE and PCONV_VULKAN_MAX_WORK lower the limits, and PCONV_VULKAN_STAGING=1
// has a device whose memory the host sees copy as one whose memory it does not see.
Capabilities queryCapabilities(const InstanceApi& api, VkPhysicalDevice device);

// The host's own device, borrowed. What it enabled cannot be asked for: nothing optional is used that it does
// not tell.
struct BorrowedDevice {
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    uint32_t queue_family = 0;
    bool storage_f16 = false;
};

// The host's device in `native`, of this instance of the host's; throws Error that names what is wrong.
BorrowedDevice checkNative(const NativeDevice& native, const Instance& instance);

class Context {
  public:
    // Opens the device, unless the host lends it.
    Context(std::shared_ptr<Instance> instance, VkPhysicalDevice physical, const BorrowedDevice* borrowed,
            Host& host);
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context();

    const DeviceApi& api() const { return api_; }
    const Capabilities& capabilities() const { return capabilities_; }
    const VkPhysicalDeviceMemoryProperties& memory() const { return memory_; }
    Host& host() const { return host_; }
    VkPhysicalDevice physical() const { return physical_; }
    VkDevice device() const { return device_; }
    // Whether device and queue are the host's, which enqueues there too.
    bool borrowed() const { return borrowed_; }
    VkQueue queue() const { return queue_; }
    uint32_t queueFamily() const { return queue_family_; }
    // Of the queue's timestamps; 0 where it has none.
    uint32_t timestampBits() const { return timestamp_bits_; }
    // Between two of its timestamps.
    double seconds(uint64_t start, uint64_t stop) const;
    const Instance& instance() const { return *instance_; }

  private:
    void openDevice(VkPhysicalDevice physical);
    void adopt(const BorrowedDevice& lent);

    std::shared_ptr<Instance> instance_;
    Host& host_;
    VkPhysicalDevice physical_;
    Capabilities capabilities_;
    VkPhysicalDeviceMemoryProperties memory_{};
    DeviceApi api_;
    VkDevice device_ = VK_NULL_HANDLE;
    VkQueue queue_ = VK_NULL_HANDLE;
    bool borrowed_ = false;
    uint32_t queue_family_ = 0;
    uint32_t timestamp_bits_ = 0;
};

}  // namespace pconv::vulkan
