// A program that uses Vulkan by itself, on a device of its own under the validation layer where it is there.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "pconv/pconv.h"
#include "vulkan/device/context.h"

namespace pconv::test {

class VulkanHost {
  public:
    // Null with the reason where there is no device. 16-bit storage is enabled where the device has it.
    static std::unique_ptr<VulkanHost> create(std::string& reason);
    VulkanHost() = default;
    VulkanHost(const VulkanHost&) = delete;
    VulkanHost& operator=(const VulkanHost&) = delete;
    ~VulkanHost() { close(); }

    const vulkan::DeviceApi& api() const { return api_; }
    VkDevice device() const { return device_; }
    VkPhysicalDevice physical() const { return physical_; }
    VkInstance instance() const { return instance_; }
    bool storage16() const { return storage16_; }
    // Its handles, as pconvAdoptDevice takes them.
    PconvNativeDevice native() const;
    vulkan::BorrowedDevice lent() const;

    struct Memory {
        VkBuffer buffer = VK_NULL_HANDLE;
        VkDeviceMemory memory = VK_NULL_HANDLE;
        char* mapped = nullptr;
        uint64_t handle() const { return reinterpret_cast<uint64_t>(buffer); }
    };
    // A buffer for storage and transfers that the host sees; freed with the device.
    Memory makeBuffer(size_t bytes);

    // Memory of such a buffer that other devices can import; the descriptor is the caller's to close. Without
    // a buffer where the device exports none.
    struct Shared {
        Memory memory;
        PconvExternalMemory external = pconvDefaultExternalMemory();
    };
    Shared makeShared(size_t bytes, bool dedicated = false);

    // Submits to the queue and does not wait.
    void copy(const Memory& from, size_t from_offset, const Memory& to, size_t to_offset, size_t bytes);
    void fill(const Memory& to, size_t offset, size_t bytes, uint32_t value);
    // Waits for all that it submitted itself.
    void wait();

    // Destroys the device, of which nothing may be left, and returns what the validation layer has said.
    std::string close();

  private:
    enum class Sharing { none, exported, exported_alone };
    // `allocate` says afterwards how its memory was allocated.
    Memory makeBuffer(size_t bytes, Sharing sharing, VkMemoryAllocateInfo& allocate);
    VkCommandBuffer begin();
    void submit(VkCommandBuffer commands);

    std::unique_ptr<vulkan::Loader> loader_;
    vulkan::InstanceApi instance_api_;
    vulkan::DeviceApi api_;
    VkInstance instance_ = VK_NULL_HANDLE;
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    VkPhysicalDevice physical_ = VK_NULL_HANDLE;
    VkDevice device_ = VK_NULL_HANDLE;
    VkQueue queue_ = VK_NULL_HANDLE;
    uint32_t family_ = 0;
    bool storage16_ = false, exports_ = false;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    std::vector<Memory> buffers_;
    vulkan::ValidationLog log_;
};

// A test with such a device; whatever pconv has left on it ends the test with a fault.
class OnVulkanHost : public ::testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    std::unique_ptr<VulkanHost> host_;
};

}  // namespace pconv::test
