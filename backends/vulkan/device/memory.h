// Device memory in blocks that buffers share, as drivers allow few allocations and make them slowly.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "vulkan/device/context.h"

namespace pconv::vulkan {

enum class MemoryKind {
    device,   // what the device reaches fastest; host-visible too where that costs nothing
    staging,  // host memory that the device can copy from and to
};

class MemoryBlock;

// A piece of a block.
struct Allocation {
    MemoryBlock* block = nullptr;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    VkDeviceSize offset = 0;
    VkDeviceSize size = 0;
    void* mapped = nullptr;  // null where the host does not see it
    bool coherent = true;    // else what host and device write is not seen by the other by itself
};

class MemoryAllocator {
  public:
    explicit MemoryAllocator(Context& context);
    MemoryAllocator(const MemoryAllocator&) = delete;
    MemoryAllocator& operator=(const MemoryAllocator&) = delete;
    ~MemoryAllocator();

    // From the best heap that has room.
    Allocation allocate(const VkMemoryRequirements& needs, MemoryKind kind);
    void release(const Allocation& allocation) noexcept;
    size_t blockCount() const { return blocks_.size(); }

  private:
    // Those to try, best first.
    std::vector<uint32_t> memoryTypes(uint32_t allowed, MemoryKind kind) const;

    Context& context_;
    std::vector<std::unique_ptr<MemoryBlock>> blocks_;
};

// The free ranges of a block, by offset; neighbours are merged.
class FreeRanges {
  public:
    explicit FreeRanges(VkDeviceSize size) : size_(size) { ranges_[0] = size; }
    // False where no range is large enough.
    bool take(VkDeviceSize size, VkDeviceSize alignment, VkDeviceSize& offset);
    void give(VkDeviceSize offset, VkDeviceSize size);
    bool allFree() const { return ranges_.size() == 1 && ranges_.begin()->second == size_; }

  private:
    VkDeviceSize size_;
    std::map<VkDeviceSize, VkDeviceSize> ranges_;
};

}  // namespace pconv::vulkan
