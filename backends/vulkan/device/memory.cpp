#include "vulkan/device/memory.h"

#include <algorithm>
#include <new>
#include <vector>

namespace pconv::vulkan {

namespace {

constexpr VkDeviceSize kBlockSize = VkDeviceSize{16} << 20;
// Larger buffers get a block of their own, returned to the driver with them.
constexpr VkDeviceSize kDedicatedSize = VkDeviceSize{4} << 20;

}  // namespace

class MemoryBlock {
  public:
    MemoryBlock(Context& context, VkDeviceSize size, uint32_t type, bool map)
        : context_(context), type_(type), maps_(map), free_(size) {
        auto info = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
        info.allocationSize = size;
        info.memoryTypeIndex = type;
        check(context.api().AllocateMemory(context.device(), &info, nullptr, &memory_), "vkAllocateMemory");
        const VkMemoryPropertyFlags flags = context.memory().memoryTypes[type].propertyFlags;
        if (!map || (flags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) == 0) return;
        const VkResult result =
            context.api().MapMemory(context.device(), memory_, 0, VK_WHOLE_SIZE, 0, &mapped_);
        if (result != VK_SUCCESS) context.api().FreeMemory(context.device(), memory_, nullptr);
        check(result, "vkMapMemory");
    }
    MemoryBlock(const MemoryBlock&) = delete;
    MemoryBlock& operator=(const MemoryBlock&) = delete;
    ~MemoryBlock() { context_.api().FreeMemory(context_.device(), memory_, nullptr); }

    bool serves(uint32_t type, bool map) const { return type_ == type && maps_ == map; }
    FreeRanges& ranges() { return free_; }
    Allocation piece(VkDeviceSize offset, VkDeviceSize size) {
        return {this, memory_, offset, size,
                mapped_ != nullptr ? static_cast<char*>(mapped_) + offset : nullptr};
    }

  private:
    Context& context_;
    uint32_t type_;
    bool maps_;
    VkDeviceMemory memory_ = VK_NULL_HANDLE;
    void* mapped_ = nullptr;
    FreeRanges free_;
};

bool FreeRanges::take(VkDeviceSize size, VkDeviceSize alignment, VkDeviceSize& offset) {
    for (auto it = ranges_.begin(); it != ranges_.end(); ++it) {
        const auto [start, length] = *it;
        const VkDeviceSize aligned = (start + alignment - 1) / alignment * alignment;
        if (aligned + size > start + length) continue;
        ranges_.erase(it);
        if (aligned > start) ranges_[start] = aligned - start;
        if (aligned + size < start + length) ranges_[aligned + size] = start + length - aligned - size;
        offset = aligned;
        return true;
    }
    return false;
}

void FreeRanges::give(VkDeviceSize offset, VkDeviceSize size) {
    auto next = ranges_.lower_bound(offset);
    if (next != ranges_.end() && next->first == offset + size) {
        size += next->second;
        next = ranges_.erase(next);
    }
    if (next != ranges_.begin()) {
        const auto before = std::prev(next);
        if (before->first + before->second == offset) {
            before->second += size;
            return;
        }
    }
    ranges_[offset] = size;
}

MemoryAllocator::MemoryAllocator(Context& context) : context_(context) {}

MemoryAllocator::~MemoryAllocator() = default;

uint32_t MemoryAllocator::memoryType(uint32_t allowed, MemoryKind kind) const {
    constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    constexpr VkMemoryPropertyFlags kHost =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    // Wanted first; the last of each is what Vulkan guarantees.
    const std::vector<VkMemoryPropertyFlags> wishes =
        kind == MemoryKind::staging ? std::vector<VkMemoryPropertyFlags>{kHost | kCached, kHost}
        : context_.capabilities().map_device_memory
            ? std::vector<VkMemoryPropertyFlags>{kLocal | kHost | kCached, kLocal, 0}
            : std::vector<VkMemoryPropertyFlags>{kLocal, 0};
    const VkPhysicalDeviceMemoryProperties& memory = context_.memory();
    for (const VkMemoryPropertyFlags wish : wishes)
        for (uint32_t i = 0; i < memory.memoryTypeCount; ++i)
            if ((allowed >> i & 1) != 0 && (memory.memoryTypes[i].propertyFlags & wish) == wish) return i;
    fail(PCONV_ERROR_DEVICE, "the device has no memory type for a buffer");
}

MemoryBlock& MemoryAllocator::addBlock(VkDeviceSize size, uint32_t type, bool map) {
    blocks_.push_back(std::make_unique<MemoryBlock>(context_, size, type, map));
    return *blocks_.back();
}

Allocation MemoryAllocator::allocate(const VkMemoryRequirements& needs, MemoryKind kind) {
    const uint32_t type = memoryType(needs.memoryTypeBits, kind);
    const bool map = kind == MemoryKind::staging || context_.capabilities().map_device_memory;
    VkDeviceSize offset = 0;
    if (needs.size < kDedicatedSize) {
        for (const auto& block : blocks_)
            if (block->serves(type, map) && block->ranges().take(needs.size, needs.alignment, offset))
                return block->piece(offset, needs.size);
    }
    MemoryBlock& block = addBlock(needs.size < kDedicatedSize ? kBlockSize : needs.size, type, map);
    block.ranges().take(needs.size, needs.alignment, offset);
    return block.piece(offset, needs.size);
}

void MemoryAllocator::release(const Allocation& allocation) noexcept {
    try {
        allocation.block->ranges().give(allocation.offset, allocation.size);
    } catch (const std::bad_alloc&) {
        return;  // the range is lost until its block goes
    }
    if (!allocation.block->ranges().allFree()) return;
    const auto same = [&](const std::unique_ptr<MemoryBlock>& block) {
        return block.get() == allocation.block;
    };
    blocks_.erase(std::find_if(blocks_.begin(), blocks_.end(), same));
}

}  // namespace pconv::vulkan
