#include "vulkan/device/buffer.h"

#include <cstdint>
#include <string>
#include <utility>

#include "vulkan/device/external_memory.h"

namespace pconv::vulkan {

namespace {

// Kernels read and write whole words, also where the last one is not full.
constexpr size_t kPadding = 256;
constexpr VkBufferUsageFlags kUsage =
    VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;

size_t roundUp(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

// There is no padding of ours behind what others made.
void refuseOddBytes(size_t offset, size_t bytes) {
    for (const auto& [name, value] : {std::pair{"offset", offset}, std::pair{"bytes", bytes}})
        if (value % 4 != 0)
            fail(PCONV_ERROR_INVALID_ARGUMENT,
                 std::string(name) + " is " + std::to_string(value) +
                     "; expected a multiple of 4: kernels read whole words of a VkBuffer");
}

}  // namespace

VulkanBuffer::VulkanBuffer(Context& context, MemoryAllocator& allocator, size_t bytes, MemoryKind kind)
    : Buffer(bytes), context_(context), allocator_(&allocator) {
    if (kind == MemoryKind::device) {
        context.host().allocated(bytes);
        counted_ = bytes;
    }
    try {
        extent_ = roundUp(bytes, kPadding);
        createHandle(extent_, nullptr, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT);
        allocation_ = allocator.allocate(requirements(), kind);
        check(
            context.api().BindBufferMemory(context.device(), buffer_, allocation_.memory, allocation_.offset),
            "vkBindBufferMemory");
        mapped_ = allocation_.mapped;
    } catch (...) {
        destroy();
        throw;
    }
}

VulkanBuffer::VulkanBuffer(Context& context, void* memory, size_t bytes) : Buffer(bytes), context_(context) {
    try {
        importMemory(memory, bytes);
    } catch (...) {
        destroy();
        throw;
    }
}

VulkanBuffer::VulkanBuffer(Context& context, const ExternalMemory& memory, size_t bytes)
    : Buffer(bytes), context_(context), base_(memory.offset), extent_(bytes) {
    refuseOddBytes(memory.offset, bytes);
    try {
        importExternal(memory);
    } catch (...) {
        destroy();
        throw;
    }
}

VulkanBuffer::VulkanBuffer(Context& context, VkBuffer handle, size_t offset, size_t bytes)
    : Buffer(bytes), context_(context), buffer_(handle), borrowed_(true), base_(offset), extent_(bytes) {
    refuseOddBytes(offset, bytes);
    // Not its size, which cannot be asked for, but never less.
    const VkDeviceSize most = requirements().size;
    if (offset + bytes > most)
        fail(PCONV_ERROR_INVALID_ARGUMENT, "offset " + std::to_string(offset) + " and " +
                                               std::to_string(bytes) + " bytes reach beyond the VkBuffer's " +
                                               std::to_string(most));
}

VulkanBuffer::~VulkanBuffer() {
    destroy();
}

// Importing is a promise of the driver's for a kind of memory and a use of it, not of an extension's being
// there.
void VulkanBuffer::refuseImport(VkExternalMemoryHandleTypeFlagBits handle, bool alone) const {
    auto asked =
        structure<VkPhysicalDeviceExternalBufferInfo>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_BUFFER_INFO);
    asked.usage = kUsage;
    asked.handleType = handle;
    auto answer = structure<VkExternalBufferProperties>(VK_STRUCTURE_TYPE_EXTERNAL_BUFFER_PROPERTIES);
    context_.instance().api().GetPhysicalDeviceExternalBufferProperties(context_.physical(), &asked, &answer);
    const VkExternalMemoryFeatureFlags features = answer.externalMemoryProperties.externalMemoryFeatures;
    if ((features & VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT) == 0)
        fail(PCONV_ERROR_UNSUPPORTED, "this device's driver imports no such memory for storage buffers");
    if ((features & VK_EXTERNAL_MEMORY_FEATURE_DEDICATED_ONLY_BIT) != 0 && !alone)
        fail(PCONV_ERROR_UNSUPPORTED,
             "this device's driver imports only memory of one VkBuffer alone (memory->dedicated)");
}

void VulkanBuffer::createHandle(size_t bytes, const void* next, VkBufferUsageFlags more) {
    auto info = structure<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
    info.pNext = next;
    info.size = bytes;
    info.usage = kUsage | more;
    check(context_.api().CreateBuffer(context_.device(), &info, nullptr, &buffer_), "vkCreateBuffer");
}

VkMemoryRequirements VulkanBuffer::requirements() const {
    VkMemoryRequirements needs;
    context_.api().GetBufferMemoryRequirements(context_.device(), buffer_, &needs);
    return needs;
}

void VulkanBuffer::importMemory(void* memory, size_t bytes) {
    const size_t page = context_.capabilities().import_alignment;
    if (page == 0)
        fail(PCONV_ERROR_UNSUPPORTED, "this device cannot import host memory: create a buffer and write it");
    refuseImport(VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, true);
    const auto address = reinterpret_cast<uintptr_t>(memory);
    base_ = address % page;
    if (base_ % 4 != 0)
        fail(PCONV_ERROR_UNSUPPORTED, "this device imports only host memory that is aligned to 4 bytes");
    const size_t whole = roundUp(base_ + bytes, page);
    extent_ = whole - base_;
    auto* start = static_cast<char*>(memory) - base_;

    auto pointer =
        structure<VkMemoryHostPointerPropertiesEXT>(VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT);
    check(context_.api().GetMemoryHostPointerPropertiesEXT(
              context_.device(), VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, start, &pointer),
          "vkGetMemoryHostPointerPropertiesEXT");
    auto external =
        structure<VkExternalMemoryBufferCreateInfo>(VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    createHandle(whole, &external, 0);
    const VkMemoryRequirements needs = requirements();
    const uint32_t allowed = needs.memoryTypeBits & pointer.memoryTypeBits;
    // Nobody tells when the host writes to it.
    const VkPhysicalDeviceMemoryProperties& properties = context_.memory();
    uint32_t type = 0;
    while (type < properties.memoryTypeCount &&
           ((allowed >> type & 1) == 0 ||
            (properties.memoryTypes[type].propertyFlags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT) == 0))
        ++type;
    if (type == properties.memoryTypeCount || needs.size > whole)
        fail(PCONV_ERROR_UNSUPPORTED,
             "this device cannot import this host memory: create a buffer and write it");

    auto import =
        structure<VkImportMemoryHostPointerInfoEXT>(VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT);
    import.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    import.pHostPointer = start;
    auto info = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    info.pNext = &import;
    info.allocationSize = whole;
    info.memoryTypeIndex = type;
    check(context_.api().AllocateMemory(context_.device(), &info, nullptr, &imported_),
          "importing host memory");
    check(context_.api().BindBufferMemory(context_.device(), buffer_, imported_, 0), "vkBindBufferMemory");
    mapped_ = memory;
}

void VulkanBuffer::importExternal(const ExternalMemory& memory) {
    refuseImport(kExternalMemoryHandle, memory.dedicated);
    auto external =
        structure<VkExternalMemoryBufferCreateInfo>(VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    external.handleTypes = kExternalMemoryHandle;
    // Memory of one VkBuffer alone wants one that takes it all.
    createHandle(memory.dedicated ? memory.size : base_ + extent_, &external, 0);
    const VkMemoryRequirements needs = requirements();
    const uint32_t types = context_.memory().memoryTypeCount;
    if (memory.memory_type >= types || (needs.memoryTypeBits >> memory.memory_type & 1) == 0)
        fail(PCONV_ERROR_INVALID_ARGUMENT, "memory->memory_type is " + std::to_string(memory.memory_type) +
                                               "; expected one of this device's " + std::to_string(types) +
                                               " that buffers can lie in");
    if (memory.dedicated ? needs.size != memory.size : needs.size > memory.size)
        fail(PCONV_ERROR_INVALID_ARGUMENT, "memory->size is " + std::to_string(memory.size) + "; expected " +
                                               std::to_string(needs.size) +
                                               ", what a VkBuffer to its end takes");
    auto dedicated =
        structure<VkMemoryDedicatedAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
    dedicated.buffer = buffer_;
    imported_ = importExternalMemory(context_, memory, memory.dedicated ? &dedicated : nullptr);
    check(context_.api().BindBufferMemory(context_.device(), buffer_, imported_, 0), "vkBindBufferMemory");
}

VkMappedMemoryRange VulkanBuffer::mappedRange(size_t offset, size_t bytes) const {
    const VkDeviceSize atom = context_.capabilities().properties.limits.nonCoherentAtomSize;
    const VkDeviceSize begin = allocation_.offset + offset;  // allocations begin and end with an atom
    auto range = structure<VkMappedMemoryRange>(VK_STRUCTURE_TYPE_MAPPED_MEMORY_RANGE);
    range.memory = allocation_.memory;
    range.offset = begin / atom * atom;
    range.size = (begin + bytes + atom - 1) / atom * atom - range.offset;
    return range;
}

void VulkanBuffer::hostWrote(size_t offset, size_t bytes) const {
    if (allocation_.coherent || bytes == 0) return;
    const VkMappedMemoryRange range = mappedRange(offset, bytes);
    check(context_.api().FlushMappedMemoryRanges(context_.device(), 1, &range), "vkFlushMappedMemoryRanges");
}

void VulkanBuffer::hostReads(size_t offset, size_t bytes) const {
    if (allocation_.coherent || bytes == 0) return;
    const VkMappedMemoryRange range = mappedRange(offset, bytes);
    check(context_.api().InvalidateMappedMemoryRanges(context_.device(), 1, &range),
          "vkInvalidateMappedMemoryRanges");
}

void VulkanBuffer::destroy() noexcept {
    const DeviceApi& api = context_.api();
    if (!borrowed_) api.DestroyBuffer(context_.device(), buffer_, nullptr);
    if (allocation_.block != nullptr) allocator_->release(allocation_);
    if (imported_ != VK_NULL_HANDLE) api.FreeMemory(context_.device(), imported_, nullptr);
    if (counted_ != 0) context_.host().released(counted_);
}

}  // namespace pconv::vulkan
