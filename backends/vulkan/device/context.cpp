#include "vulkan/device/context.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "platform/cpu_info.h"
#include "vulkan/device/external_memory.h"

namespace pconv::vulkan {

namespace {

// Multiplications of a dispatch: a fraction of a second on the slowest of the kind, as watchdogs fire after 2
// to 10 seconds. They do not follow a measurement, for sums that are cut elsewhere are other sums.
constexpr uint64_t kWork = uint64_t{4} << 30;
constexpr uint64_t kWorkDiscrete = uint64_t{16} << 30;
// Of a submission, once the device has been found fast enough.
constexpr uint64_t kMostSubmissionWork = uint64_t{256} << 30;
// Kernels index elements with 32-bit integers.
constexpr size_t kIndexRange = (size_t{1} << 31) - 256;

std::vector<std::string> deviceExtensions(const InstanceApi& api, VkPhysicalDevice device) {
    uint32_t count = 0;
    api.EnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> found(count);
    if (api.EnumerateDeviceExtensionProperties(device, nullptr, &count, found.data()) < 0) found.clear();
    std::vector<std::string> names;
    for (const VkExtensionProperties& extension : found) names.emplace_back(extension.extensionName);
    return names;
}

DeviceType deviceType(VkPhysicalDeviceType type) {
    switch (type) {
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
            return DeviceType::discrete_gpu;
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
            return DeviceType::integrated_gpu;
        case VK_PHYSICAL_DEVICE_TYPE_CPU:
            return DeviceType::software;
        default:
            return DeviceType::other;
    }
}

uint64_t loweredBy(const char* variable, uint64_t limit) {
    const char* text = std::getenv(variable);
    const uint64_t wanted = text != nullptr ? std::strtoull(text, nullptr, 10) : 0;
    return wanted != 0 ? std::min(wanted, limit) : limit;
}

std::string version(uint32_t packed) {
    return std::to_string(VK_API_VERSION_MAJOR(packed)) + "." + std::to_string(VK_API_VERSION_MINOR(packed)) +
           "." + std::to_string(VK_API_VERSION_PATCH(packed));
}

// Whether large register tiles spill: measured with the compilers of such devices, see
// docs/results/vulkan_compilers.md.
bool hasFewRegisters(const VkPhysicalDeviceProperties& properties, DeviceType type, uint32_t driver,
                     uint32_t least_subgroup) {
    constexpr uint32_t kIntel = 0x8086, kApple = 0x106B, kAmd = 0x1002;
    constexpr uint32_t kHoneykrisp = 26;  // Mesa's driver for Apple's GPUs, in VkDriverId
    if (type == DeviceType::software) {
        // x86-64 has 16 vector registers without AVX-512, and 32 with it, as AArch64.
        const std::string features = platform::cpuFeatures();
        return features.find("avx512f") == std::string::npos && features.find("neon") == std::string::npos;
    }
    // Of AMD's, those before RDNA know no waves of 32.
    return properties.vendorID == kIntel || properties.vendorID == kApple || driver == kHoneykrisp ||
           (properties.vendorID == kAmd && least_subgroup == 64);
}

// Fills in what the device says in its extension structures.
void queryProperties(const InstanceApi& api, VkPhysicalDevice device,
                     const std::vector<std::string>& extensions, Capabilities& capabilities) {
    const auto has = [&](const char* name) {
        return std::find(extensions.begin(), extensions.end(), name) != extensions.end();
    };
    auto external = structure<VkPhysicalDeviceExternalMemoryHostPropertiesEXT>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT);
    auto driver =
        structure<VkPhysicalDeviceDriverProperties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES);
    auto subgroup =
        structure<VkPhysicalDeviceSubgroupProperties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES);
    auto id = structure<VkPhysicalDeviceIDProperties>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES);
    auto all = structure<VkPhysicalDeviceProperties2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2);
    all.pNext = &id;
    id.pNext = &subgroup;
    auto sizes = structure<VkPhysicalDeviceSubgroupSizeControlPropertiesEXT>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES_EXT);
    const bool has_import = has(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    const bool has_driver = has(VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME);
    auto pci = structure<VkPhysicalDevicePCIBusInfoPropertiesEXT>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT);
    const bool has_pci = has(VK_EXT_PCI_BUS_INFO_EXTENSION_NAME);
    if (has_pci) {
        pci.pNext = all.pNext;
        all.pNext = &pci;
    }
    const auto ask = [&all](bool known, auto& of_extension) {
        if (!known) return;
        of_extension.pNext = all.pNext;
        all.pNext = &of_extension;
    };
    ask(has_import, external);
    ask(has_driver, driver);
    ask(has(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME), sizes);
    api.GetPhysicalDeviceProperties2(device, &all);

    capabilities.properties = all.properties;
    capabilities.subgroup_size = std::max(1U, subgroup.subgroupSize);
    capabilities.import_alignment =
        has_import ? static_cast<size_t>(external.minImportedHostPointerAlignment) : 0;
    capabilities.import_external = has(kExternalMemoryExtension);
    std::memcpy(capabilities.driver_uuid, id.driverUUID, VK_UUID_SIZE);
    std::memcpy(capabilities.info.uuid.data(), id.deviceUUID, VK_UUID_SIZE);
    if (id.deviceLUIDValid == VK_TRUE)
        std::memcpy(capabilities.info.luid.data(), id.deviceLUID, VK_LUID_SIZE);
    if (has_pci) {
        char text[48];
        std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", pci.pciDomain, pci.pciBus, pci.pciDevice,
                      pci.pciFunction);
        capabilities.info.pci = text;
    }
    capabilities.info.name = all.properties.deviceName;
    capabilities.info.type = deviceType(all.properties.deviceType);
    capabilities.info.driver = has_driver ? std::string(driver.driverName) + " " + driver.driverInfo
                                          : "driver " + std::to_string(all.properties.driverVersion);
    capabilities.few_registers = hasFewRegisters(all.properties, capabilities.info.type,
                                                 has_driver ? driver.driverID : 0, sizes.minSubgroupSize);
    capabilities.portability_subset = has("VK_KHR_portability_subset");
}

std::vector<VkQueueFamilyProperties> queueFamilies(const InstanceApi& api, VkPhysicalDevice device) {
    uint32_t count = 0;
    api.GetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    api.GetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
    return families;
}

std::string describeFeatures(const Capabilities& capabilities) {
    std::string text = "vulkan-" + version(capabilities.properties.apiVersion) + " subgroup-" +
                       std::to_string(capabilities.subgroup_size);
    if (capabilities.storage_f16) text += " f16-storage";
    if (capabilities.matrices)
        text += " matrices-" + std::to_string(capabilities.matrices.m) + "x" +
                std::to_string(capabilities.matrices.n) + "x" + std::to_string(capabilities.matrices.k);
    if (capabilities.import_alignment != 0) text += " host-import";
    if (capabilities.import_external) text += std::string(" ") + kExternalMemoryFeature;
    return text;
}

}  // namespace

Capabilities queryCapabilities(const InstanceApi& api, VkPhysicalDevice device) {
    Capabilities capabilities;
    const std::vector<std::string> extensions = deviceExtensions(api, device);
    queryProperties(api, device, extensions, capabilities);
    capabilities.matrices = queryCooperativeMatrix(api, device, extensions);
    const VkPhysicalDeviceLimits& limits = capabilities.properties.limits;

    auto storage = structure<VkPhysicalDevice16BitStorageFeatures>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES);
    auto features = structure<VkPhysicalDeviceFeatures2>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2);
    features.pNext = &storage;
    api.GetPhysicalDeviceFeatures2(device, &features);
    capabilities.storage_f16 = storage.storageBuffer16BitAccess == VK_TRUE;

    VkPhysicalDeviceMemoryProperties memory;
    api.GetPhysicalDeviceMemoryProperties(device, &memory);
    for (uint32_t i = 0; i < memory.memoryHeapCount; ++i)
        if ((memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0)
            capabilities.info.memory_bytes += memory.memoryHeaps[i].size;

    const DeviceType type = capabilities.info.type;
    capabilities.max_range = static_cast<size_t>(
        loweredBy("PCONV_VULKAN_MAX_RANGE", std::min<uint64_t>(limits.maxStorageBufferRange, kIndexRange)));
    capabilities.watched = type != DeviceType::software;
    capabilities.max_work =
        loweredBy("PCONV_VULKAN_MAX_WORK", type == DeviceType::discrete_gpu ? kWorkDiscrete : kWork);
    capabilities.most_submission_work =
        loweredBy("PCONV_VULKAN_MAX_WORK", capabilities.watched ? kMostSubmissionWork : kWork);
    capabilities.binding_alignment = static_cast<size_t>(limits.minStorageBufferOffsetAlignment);

    capabilities.map_device_memory =
        type != DeviceType::discrete_gpu && std::getenv("PCONV_VULKAN_STAGING") == nullptr;

    capabilities.info.features = describeFeatures(capabilities);
    return capabilities;
}

BorrowedDevice checkNative(const NativeDevice& native, const Instance& instance) {
    const InstanceApi& api = instance.api();
    const auto physical = static_cast<VkPhysicalDevice>(native.vulkan_physical_device);
    const auto& devices = instance.devices();
    if (std::find(devices.begin(), devices.end(), physical) == devices.end())
        fail(PCONV_ERROR_INVALID_ARGUMENT,
             "native->vulkan_physical_device is none of native->vulkan_instance's " +
                 std::to_string(devices.size()));
    VkPhysicalDeviceProperties properties;
    api.GetPhysicalDeviceProperties(physical, &properties);
    if (properties.apiVersion < VK_API_VERSION_1_1)
        fail(PCONV_ERROR_UNSUPPORTED,
             std::string(properties.deviceName) + " knows only Vulkan 1.0; 1.1 is needed");
    const auto families = queueFamilies(api, physical);
    const std::string family = "native->vulkan_queue_family is " + std::to_string(native.vulkan_queue_family);
    if (native.vulkan_queue_family >= families.size())
        fail(PCONV_ERROR_INVALID_ARGUMENT, family + "; the device has " + std::to_string(families.size()));
    if ((families[native.vulkan_queue_family].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0)
        fail(PCONV_ERROR_INVALID_ARGUMENT, family + ", which does no compute");
    return {static_cast<VkDevice>(native.vulkan_device), static_cast<VkQueue>(native.vulkan_queue),
            native.vulkan_queue_family, native.vulkan_16bit_storage};
}

Context::Context(std::shared_ptr<Instance> instance, VkPhysicalDevice physical,
                 const BorrowedDevice* borrowed, Host& host)
    : instance_(std::move(instance)),
      host_(host),
      physical_(physical),
      capabilities_(queryCapabilities(instance_->api(), physical)) {
    const InstanceApi& api = instance_->api();
    api.GetPhysicalDeviceMemoryProperties(physical, &memory_);
    const auto families = queueFamilies(api, physical);
    if (borrowed != nullptr)
        adopt(*borrowed);
    else
        openDevice(physical);
    timestamp_bits_ = families[queue_family_].timestampValidBits;
}

void Context::adopt(const BorrowedDevice& lent) {
    borrowed_ = true;
    device_ = lent.device;
    queue_ = lent.queue;
    queue_family_ = lent.queue_family;
    capabilities_.storage_f16 = capabilities_.storage_f16 && lent.storage_f16;
    capabilities_.import_alignment = 0;
    capabilities_.import_external = false;
    capabilities_.matrices = {};
    capabilities_.matrices.missing =
        "whether an adopted device has its cooperative matrices enabled cannot be asked";
    capabilities_.info.features = describeFeatures(capabilities_);
    api_.load(instance_->api(), device_);
}

void Context::openDevice(VkPhysicalDevice physical) {
    const InstanceApi& api = instance_->api();
    queue_family_ = static_cast<uint32_t>(computeQueueFamily(api, physical));
    std::vector<const char*> extensions;
    if (capabilities_.portability_subset) extensions.push_back("VK_KHR_portability_subset");
    if (capabilities_.import_alignment != 0) extensions.push_back(VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    if (capabilities_.import_external) extensions.push_back(kExternalMemoryExtension);
    const float priority = 1;
    auto queue = structure<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
    queue.queueFamilyIndex = queue_family_;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    auto storage = structure<VkPhysicalDevice16BitStorageFeatures>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES);
    storage.storageBuffer16BitAccess = capabilities_.storage_f16 ? VK_TRUE : VK_FALSE;
    std::shared_ptr<void> matrices;
    if (capabilities_.matrices) {
        const auto& needed = cooperativeMatrixExtensions();
        extensions.insert(extensions.end(), needed.begin(), needed.end());
        matrices = cooperativeMatrixFeatures(&storage);
    }
    auto info = structure<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
    info.pNext = matrices != nullptr ? matrices.get() : &storage;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    check(api.CreateDevice(physical, &info, nullptr, &device_), "vkCreateDevice");
    api_.load(api, device_);
    api_.GetDeviceQueue(device_, queue_family_, 0, &queue_);
}

double Context::seconds(uint64_t start, uint64_t stop) const {
    const uint64_t mask = timestamp_bits_ >= 64 ? ~uint64_t{0} : (uint64_t{1} << timestamp_bits_) - 1;
    return static_cast<double>((stop - start) & mask) *
           static_cast<double>(capabilities_.properties.limits.timestampPeriod) * 1e-9;
}

Context::~Context() {
    if (!borrowed_) api_.DestroyDevice(device_, nullptr);
}

}  // namespace pconv::vulkan
