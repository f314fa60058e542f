#include "vulkan/device/external_memory.h"

#include <string>

#ifdef _WIN32
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
// After what it needs.
#include <vulkan/vulkan_win32.h>
#else
#include "platform/descriptor.h"
#endif

namespace pconv::vulkan {

namespace {

VkResult allocate(const Context& context, const ExternalMemory& memory, const void* import,
                  VkDeviceMemory& made) {
    auto info = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    info.pNext = import;
    info.allocationSize = memory.size;
    info.memoryTypeIndex = memory.memory_type;
    return context.api().AllocateMemory(context.device(), &info, nullptr, &made);
}

}  // namespace

#ifdef _WIN32

const char* const kExternalMemoryExtension = VK_KHR_EXTERNAL_MEMORY_WIN32_EXTENSION_NAME;
const char* const kExternalMemoryFeature = "win32-import";
const VkExternalMemoryHandleTypeFlagBits kExternalMemoryHandle =
    VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_WIN32_BIT;

VkDeviceMemory importExternalMemory(const Context& context, const ExternalMemory& memory, const void* next) {
    if (memory.handle_type != PCONV_MEMORY_HANDLE_TYPE_OPAQUE_WIN32)
        fail(PCONV_ERROR_UNSUPPORTED, "memory is shared by HANDLEs on this system, not by file descriptors");
    auto import =
        structure<VkImportMemoryWin32HandleInfoKHR>(VK_STRUCTURE_TYPE_IMPORT_MEMORY_WIN32_HANDLE_INFO_KHR);
    import.pNext = next;
    import.handleType = kExternalMemoryHandle;
    import.handle = reinterpret_cast<HANDLE>(static_cast<intptr_t>(memory.handle));
    VkDeviceMemory made = VK_NULL_HANDLE;
    check(allocate(context, memory, &import, made), "importing memory by its HANDLE");
    return made;
}

#else

const char* const kExternalMemoryExtension = VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME;
const char* const kExternalMemoryFeature = "fd-import";
const VkExternalMemoryHandleTypeFlagBits kExternalMemoryHandle = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;

VkDeviceMemory importExternalMemory(const Context& context, const ExternalMemory& memory, const void* next) {
    if (memory.handle_type != PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD)
        fail(PCONV_ERROR_UNSUPPORTED, "memory is shared by file descriptors on this system, not by HANDLEs");
    auto import = structure<VkImportMemoryFdInfoKHR>(VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR);
    import.pNext = next;
    import.handleType = kExternalMemoryHandle;
    import.fd = platform::duplicateDescriptor(static_cast<int>(memory.handle));
    if (import.fd < 0)
        fail(PCONV_ERROR_INVALID_ARGUMENT,
             "memory->handle is " + std::to_string(memory.handle) + ", which is no open file descriptor");
    VkDeviceMemory made = VK_NULL_HANDLE;
    const VkResult result = allocate(context, memory, &import, made);
    // Only an import that went well takes the descriptor.
    if (result != VK_SUCCESS) platform::closeDescriptor(import.fd);
    check(result, "importing memory by its file descriptor");
    return made;
}

#endif

}  // namespace pconv::vulkan
