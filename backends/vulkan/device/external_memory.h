// Memory that others allocated on the same hardware, by the handle that this system has for it.
#pragma once

#include "backend.h"
#include "vulkan/device/context.h"

namespace pconv::vulkan {

// What a device needs for it, how it is called among a device's features, and which handle it is.
extern const char* const kExternalMemoryExtension;
extern const char* const kExternalMemoryFeature;
extern const VkExternalMemoryHandleTypeFlagBits kExternalMemoryHandle;

// Imports all of it. `next` continues the chain of VkMemoryAllocateInfo.
VkDeviceMemory importExternalMemory(const Context& context, const ExternalMemory& memory, const void* next);

}  // namespace pconv::vulkan
