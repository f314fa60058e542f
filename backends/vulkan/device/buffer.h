// Buffers: pieces of device memory, memory of the host that the device uses in place, or the host's own
// buffers.
#pragma once

#include <memory>

#include "backend.h"
#include "vulkan/device/memory.h"

namespace pconv::vulkan {

class VulkanBuffer final : public Buffer, public std::enable_shared_from_this<VulkanBuffer> {
  public:
    // Device memory counts against the host's limit; staging memory is the host's own.
    VulkanBuffer(Context& context, MemoryAllocator& allocator, size_t bytes, MemoryKind kind);
    // Imports `memory`, in whole pages.
    VulkanBuffer(Context& context, void* memory, size_t bytes);
    // Borrows `bytes` of the host's buffer from `offset` on.
    VulkanBuffer(Context& context, VkBuffer handle, size_t offset, size_t bytes);
    // Imports another device's memory.
    VulkanBuffer(Context& context, const ExternalMemory& memory, size_t bytes);
    VulkanBuffer(const VulkanBuffer&) = delete;
    VulkanBuffer& operator=(const VulkanBuffer&) = delete;
    ~VulkanBuffer() override;

    void* hostPointer() override { return imported_ != VK_NULL_HANDLE ? mapped_ : nullptr; }
    VkBuffer handle() const { return buffer_; }
    // Where byte 0 of this buffer lies in the handle's.
    size_t base() const { return base_; }
    // Bytes of the handle from byte 0 on; at least size(), in whole words.
    size_t extent() const { return extent_; }
    // Byte 0 as the host sees it; null where it does not.
    void* mapped() const { return mapped_; }
    // After the host has written to mapped(), before the device may read it; and after the device has
    // written, before the host reads.
    void hostWrote(size_t offset, size_t bytes) const;
    void hostReads(size_t offset, size_t bytes) const;
    // The last submission that uses the buffer.
    uint64_t lastUse() const { return last_use_; }
    void setLastUse(uint64_t serial) { last_use_ = serial; }

  private:
    void refuseImport(VkExternalMemoryHandleTypeFlagBits handle, bool alone) const;
    // For storage and transfers, and what else is asked for: drivers align by it.
    void createHandle(size_t bytes, const void* next, VkBufferUsageFlags more);
    VkMemoryRequirements requirements() const;
    void importMemory(void* memory, size_t bytes);
    void importExternal(const ExternalMemory& memory);
    VkMappedMemoryRange mappedRange(size_t offset, size_t bytes) const;
    void destroy() noexcept;

    Context& context_;
    MemoryAllocator* allocator_ = nullptr;
    size_t counted_ = 0;
    VkBuffer buffer_ = VK_NULL_HANDLE;
    bool borrowed_ = false;
    Allocation allocation_;
    VkDeviceMemory imported_ = VK_NULL_HANDLE;
    size_t base_ = 0;
    size_t extent_ = 0;
    void* mapped_ = nullptr;
    uint64_t last_use_ = 0;
};

}  // namespace pconv::vulkan
