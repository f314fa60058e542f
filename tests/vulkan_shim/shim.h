// A library that stands between pconv and the Vulkan loader (PCONV_VULKAN_LOADER), and makes of a device what
// the tests want to meet: one with other limits, with memory of its own, one that fails, one that checks
// every access of a buffer. What it does is told by the environment, read whenever an instance is created:
//
//   PCONV_SHIM_GPU=1              a discrete GPU: 256-byte alignment, 65,535 workgroups a dimension,
//                                 device memory that the host does not see, host memory that is
//                                 not coherent
//   PCONV_SHIM_VENDOR=N           vendorID, such as 0x8086
//   PCONV_SHIM_RANGE=N            maxStorageBufferRange
//   PCONV_SHIM_STORAGE_BUFFERS=N  maxPerStageDescriptorStorageBuffers
//   PCONV_SHIM_TIMESTAMP_PERIOD=N nanoseconds of a tick of the device's clock
//   PCONV_SHIM_DEVICE_HEAP=N      bytes of the GPU's own memory; more cannot be allocated
//   PCONV_SHIM_NO_IMPORT=N        1: no memory of others can be imported;
//                                 2: that of one VkBuffer alone can be
//   PCONV_SHIM_CHECK_ACCESSES=1   every access of a storage buffer is held to what is bound; the
//                                 process fails at its end
//   PCONV_SHIM_STATISTICS=FILE    what the driver's compiler says of every pipeline is added to the
//                                 file, and nothing runs: for drivers without their hardware
#pragma once

#include <vulkan/vulkan.h>

#include <cstdint>
#include <string>

namespace pconv::shim {

struct Settings {
    bool gpu = false;
    bool check_accesses = false;
    uint64_t vendor = 0, range = 0, storage_buffers = 0, timestamp_period = 0, device_heap = 0,
             no_import = 0;  // 0: as it is
    std::string statistics;
};

const Settings& settings();
void readSettings();

// The loader's own functions; of instances those that are stood in for, once an instance was made.
PFN_vkVoidFunction instanceFunction(const char* name);
PFN_vkVoidFunction deviceFunction(VkDevice device, const char* name);

// What stands in for them; null where nothing does. Each file has its own.
PFN_vkVoidFunction pretendedFunction(const char* name);   // limits.cpp: of instances
PFN_vkVoidFunction memoryFunction(const char* name);      // memory.cpp
PFN_vkVoidFunction checkedFunction(const char* name);     // checked.cpp
PFN_vkVoidFunction statisticsFunction(const char* name);  // statistics.cpp
// A function that fails when it is told to, else does what `real` does.
PFN_vkVoidFunction failingFunction(const char* name, PFN_vkVoidFunction real);  // faults.cpp

// Told of every device that was opened.
void prepareChecks(VkPhysicalDevice physical, VkDevice device);

#define PCONV_SHIM_DEVICE(device, name) \
    reinterpret_cast<PFN_##name>(::pconv::shim::deviceFunction(device, #name))
#define PCONV_SHIM_INSTANCE(name) reinterpret_cast<PFN_##name>(::pconv::shim::instanceFunction(#name))

}  // namespace pconv::shim
