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
        : context_(context), type_(type), maps_(map), free_(size) {}

    // What the driver answers.
    VkResult allocate(VkDeviceSize size) {
        auto info = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
        info.allocationSize = size;
        info.memoryTypeIndex = type_;
        return context_.api().AllocateMemory(context_.device(), &info, nullptr, &memory_);
    }
    void map() {
        if (!maps_ || (flags() & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) == 0) return;
        check(context_.api().MapMemory(context_.device(), memory_, 0, VK_WHOLE_SIZE, 0, &mapped_),
              "vkMapMemory");
    }
    MemoryBlock(const MemoryBlock&) = delete;
    MemoryBlock& operator=(const MemoryBlock&) = delete;
    ~MemoryBlock() { context_.api().FreeMemory(context_.device(), memory_, nullptr); }

    bool serves(uint32_t type, bool map) const { return type_ == type && maps_ == map; }
    FreeRanges& ranges() { return free_; }
    Allocation piece(VkDeviceSize offset, VkDeviceSize size) {
        return {this,
                memory_,
                offset,
                size,
                mapped_ != nullptr ? static_cast<char*>(mapped_) + offset : nullptr,
                (flags() & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) != 0};
    }

  private:
    VkMemoryPropertyFlags flags() const { return context_.memory().memoryTypes[type_].propertyFlags; }

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

std::vector<uint32_t> MemoryAllocator::memoryTypes(uint32_t allowed, MemoryKind kind) const {
    constexpr VkMemoryPropertyFlags kLocal = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    constexpr VkMemoryPropertyFlags kVisible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    constexpr VkMemoryPropertyFlags kCoherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    constexpr VkMemoryPropertyFlags kCached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    // Wanted first; the last of each is what Vulkan guarantees.
    using Wishes = std::vector<VkMemoryPropertyFlags>;
    const Wishes wishes =
        kind == MemoryKind::staging
            ? Wishes{kVisible | kCached | kCoherent, kVisible | kCached, kVisible | kCoherent}
        : context_.capabilities().map_device_memory
            ? Wishes{kLocal | kVisible | kCached | kCoherent, kLocal | kVisible | kCached, kLocal, 0}
            : Wishes{kLocal, 0};
    const VkPhysicalDeviceMemoryProperties& memory = context_.memory();
    std::vector<uint32_t> types;
    for (const VkMemoryPropertyFlags wish : wishes)
        for (uint32_t i = 0; i < memory.memoryTypeCount; ++i)
            if ((allowed >> i & 1) != 0 && (memory.memoryTypes[i].propertyFlags & wish) == wish &&
                std::find(types.begin(), types.end(), i) == types.end())
                types.push_back(i);
    if (types.empty()) fail(PCONV_ERROR_DEVICE, "the device has no memory type for a buffer");
    return types;
}

Allocation MemoryAllocator::allocate(const VkMemoryRequirements& needs, MemoryKind kind) {
    const bool map = kind == MemoryKind::staging || context_.capabilities().map_device_memory;
    // What the host writes and what the device writes must not share an atom of memory that is not coherent.
    const VkDeviceSize atom = context_.capabilities().properties.limits.nonCoherentAtomSize;
    const VkDeviceSize alignment = map ? std::max(needs.alignment, atom) : needs.alignment;
    const VkDeviceSize size = map ? (needs.size + atom - 1) / atom * atom : needs.size;
    VkResult result = VK_SUCCESS;
    std::vector<bool> full(VK_MAX_MEMORY_HEAPS, false);
    for (const uint32_t type : memoryTypes(needs.memoryTypeBits, kind)) {
        const uint32_t heap = context_.memory().memoryTypes[type].heapIndex;
        if (full[heap]) continue;
        VkDeviceSize offset = 0;
        if (size < kDedicatedSize) {
            for (const auto& block : blocks_)
                if (block->serves(type, map) && block->ranges().take(size, alignment, offset))
                    return block->piece(offset, size);
        }
        const VkDeviceSize whole = size < kDedicatedSize ? kBlockSize : size;
        auto block = std::make_unique<MemoryBlock>(context_, whole, type, map);
        result = block->allocate(whole);
        if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY) {
            full[heap] = true;
            continue;
        }
        check(result, "vkAllocateMemory");
        block->map();
        block->ranges().take(size, alignment, offset);
        blocks_.push_back(std::move(block));
        return blocks_.back()->piece(offset, size);
    }
    check(result, "vkAllocateMemory");
    fail(PCONV_ERROR_DEVICE, "the device has no memory type for a buffer");
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
