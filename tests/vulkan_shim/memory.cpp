// A GPU's memory over a software device's: a heap of its own that fills up and that the host does not see,
// and host memory of which the host has a copy that it must bring over.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "shim.h"

namespace pconv::shim {

namespace {

constexpr uint32_t kDeviceType = 0;  // as limits.cpp numbers them
constexpr uint32_t kIncoherentType = 2;
constexpr VkDeviceSize kAtom = 64;

struct Memory {
    VkDeviceSize size = 0;
    uint32_t type = 0;
    char* real = nullptr;          // once mapped
    std::vector<char> hosts_copy;  // of memory that is not coherent
};

std::mutex mutex;
std::map<VkDeviceMemory, Memory> memories;
VkDeviceSize used = 0;  // of the device's heap

[[noreturn]] void misuse(const char* what) {
    std::fprintf(stderr, "pconv_vulkan_shim: %s\n", what);
    std::_Exit(86);
}

VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo* info,
                                        const VkAllocationCallbacks* callbacks, VkDeviceMemory* memory) {
    VkMemoryAllocateInfo real = *info;
    real.memoryTypeIndex = 0;
    const std::lock_guard<std::mutex> lock(mutex);
    const bool local = info->memoryTypeIndex == kDeviceType;
    if (local && settings().device_heap != 0 && used + info->allocationSize > settings().device_heap)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    const VkResult result = PCONV_SHIM_DEVICE(device, vkAllocateMemory)(device, &real, callbacks, memory);
    if (result != VK_SUCCESS) return result;
    memories[*memory] = {info->allocationSize, info->memoryTypeIndex, nullptr, {}};
    if (local) used += info->allocationSize;
    return result;
}

VKAPI_ATTR void VKAPI_CALL freeMemory(VkDevice device, VkDeviceMemory memory,
                                      const VkAllocationCallbacks* callbacks) {
    PCONV_SHIM_DEVICE(device, vkFreeMemory)(device, memory, callbacks);
    const std::lock_guard<std::mutex> lock(mutex);
    const auto found = memories.find(memory);
    if (found == memories.end()) return;
    if (found->second.type == kDeviceType) used -= found->second.size;
    memories.erase(found);
}

VKAPI_ATTR VkResult VKAPI_CALL map(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
                                   VkDeviceSize size, VkMemoryMapFlags flags, void** data) {
    const std::lock_guard<std::mutex> lock(mutex);
    Memory& known = memories.at(memory);
    if (known.type == kDeviceType) misuse("memory that the host does not see was mapped");
    const VkResult result = PCONV_SHIM_DEVICE(device, vkMapMemory)(device, memory, offset, size, flags, data);
    if (result != VK_SUCCESS || known.type != kIncoherentType) return result;
    if (offset != 0) misuse("mapping from an offset on is not made here");
    known.real = static_cast<char*>(*data);
    // What the host sees before it brings anything over is nobody's data.
    known.hosts_copy.assign(known.size, static_cast<char>(0x5A));
    *data = known.hosts_copy.data();
    return result;
}

VkResult bringOver(uint32_t count, const VkMappedMemoryRange* ranges, bool to_device) {
    const std::lock_guard<std::mutex> lock(mutex);
    for (uint32_t i = 0; i < count; ++i) {
        Memory& memory = memories.at(ranges[i].memory);
        const VkDeviceSize offset = ranges[i].offset;
        const VkDeviceSize size = ranges[i].size == VK_WHOLE_SIZE ? memory.size - offset : ranges[i].size;
        if (offset % kAtom != 0 || (size % kAtom != 0 && offset + size != memory.size))
            misuse("a range of memory that is not coherent begins or ends within an atom");
        if (offset + size > memory.size) misuse("a range reaches beyond its memory");
        if (memory.real == nullptr)
            misuse("a range of memory that is coherent or not mapped was brought over");
        if (to_device)
            std::memcpy(memory.real + offset, memory.hosts_copy.data() + offset, size);
        else
            std::memcpy(memory.hosts_copy.data() + offset, memory.real + offset, size);
    }
    return VK_SUCCESS;
}

VKAPI_ATTR VkResult VKAPI_CALL flush(VkDevice /*device*/, uint32_t count, const VkMappedMemoryRange* ranges) {
    return bringOver(count, ranges, true);
}

VKAPI_ATTR VkResult VKAPI_CALL invalidate(VkDevice /*device*/, uint32_t count,
                                          const VkMappedMemoryRange* ranges) {
    return bringOver(count, ranges, false);
}

VKAPI_ATTR void VKAPI_CALL requirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements* needs) {
    PCONV_SHIM_DEVICE(device, vkGetBufferMemoryRequirements)(device, buffer, needs);
    needs->memoryTypeBits = 7;
}

VKAPI_ATTR VkResult VKAPI_CALL hostPointer(VkDevice device, VkExternalMemoryHandleTypeFlagBits type,
                                           const void* pointer,
                                           VkMemoryHostPointerPropertiesEXT* properties) {
    const VkResult result =
        PCONV_SHIM_DEVICE(device, vkGetMemoryHostPointerPropertiesEXT)(device, type, pointer, properties);
    properties->memoryTypeBits = 2;  // coherent memory
    return result;
}

}  // namespace

PFN_vkVoidFunction memoryFunction(const char* name) {
    if (!settings().gpu) return nullptr;
    const std::pair<const char*, PFN_vkVoidFunction> functions[] = {
        {"vkAllocateMemory", reinterpret_cast<PFN_vkVoidFunction>(allocate)},
        {"vkFreeMemory", reinterpret_cast<PFN_vkVoidFunction>(freeMemory)},
        {"vkMapMemory", reinterpret_cast<PFN_vkVoidFunction>(map)},
        {"vkFlushMappedMemoryRanges", reinterpret_cast<PFN_vkVoidFunction>(flush)},
        {"vkInvalidateMappedMemoryRanges", reinterpret_cast<PFN_vkVoidFunction>(invalidate)},
        {"vkGetBufferMemoryRequirements", reinterpret_cast<PFN_vkVoidFunction>(requirements)},
        {"vkGetMemoryHostPointerPropertiesEXT", reinterpret_cast<PFN_vkVoidFunction>(hostPointer)}};
    for (const auto& [known, function] : functions)
        if (std::strcmp(name, known) == 0) return function;
    return nullptr;
}

}  // namespace pconv::shim
