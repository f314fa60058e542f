#include "vulkan_host.h"

#include <cstring>

namespace pconv::test {

namespace {

using vulkan::check;
using vulkan::structure;

constexpr char kLayer[] = "VK_LAYER_KHRONOS_validation";

VKAPI_ATTR VkBool32 VKAPI_CALL onMessage(VkDebugUtilsMessageSeverityFlagBitsEXT /*severity*/,
                                         VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                         const VkDebugUtilsMessengerCallbackDataEXT* data, void* log) {
    static_cast<vulkan::ValidationLog*>(log)->add(data->pMessage);
    return VK_FALSE;
}

bool hasLayer(const vulkan::Loader& loader) {
#if defined(__SANITIZE_ADDRESS__)
    (void)loader;
    return false;  // the layer leaves memory behind at the process's end
#else
    uint32_t count = 0;
    loader.EnumerateInstanceLayerProperties(&count, nullptr);
    std::vector<VkLayerProperties> layers(count);
    loader.EnumerateInstanceLayerProperties(&count, layers.data());
    for (const VkLayerProperties& layer : layers)
        if (std::strcmp(layer.layerName, kLayer) == 0) return true;
    return false;
#endif
}

}  // namespace

std::unique_ptr<VulkanHost> VulkanHost::create(std::string& reason) {
    auto host = std::make_unique<VulkanHost>();
    host->loader_ = vulkan::Loader::open(reason);
    if (host->loader_ == nullptr) return nullptr;
    const vulkan::Loader& loader = *host->loader_;

    auto application = structure<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
    application.apiVersion = VK_API_VERSION_1_1;
    auto messenger = structure<VkDebugUtilsMessengerCreateInfoEXT>(
        VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT);
    messenger.messageSeverity =
        VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
    messenger.pfnUserCallback = onMessage;
    messenger.pUserData = &host->log_;
    const VkValidationFeatureEnableEXT synchronization =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    auto features = structure<VkValidationFeaturesEXT>(VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT);
    features.enabledValidationFeatureCount = 1;
    features.pEnabledValidationFeatures = &synchronization;
    features.pNext = &messenger;
    const char* const layer = kLayer;
    const char* const debug_utils = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    auto info = structure<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
    info.pApplicationInfo = &application;
    const bool validate = hasLayer(loader);
    if (validate) {
        info.pNext = &features;
        info.enabledLayerCount = info.enabledExtensionCount = 1;
        info.ppEnabledLayerNames = &layer;
        info.ppEnabledExtensionNames = &debug_utils;
    }
    if (loader.CreateInstance(&info, nullptr, &host->instance_) != VK_SUCCESS) {
        reason = "no instance";
        return nullptr;
    }
    vulkan::InstanceApi& api = host->instance_api_;
    api.load(loader, host->instance_);
    if (validate)
        check(reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
                  loader.GetInstanceProcAddr(host->instance_, "vkCreateDebugUtilsMessengerEXT"))(
                  host->instance_, &messenger, nullptr, &host->messenger_),
              "vkCreateDebugUtilsMessengerEXT");

    uint32_t count = 1;
    if (api.EnumeratePhysicalDevices(host->instance_, &count, &host->physical_) < 0 || count == 0) {
        reason = "no physical device";
        return nullptr;
    }
    const int family = vulkan::computeQueueFamily(api, host->physical_);
    if (family < 0) {
        reason = "no compute queue";
        return nullptr;
    }
    host->family_ = static_cast<uint32_t>(family);
    const vulkan::Capabilities capabilities = vulkan::queryCapabilities(api, host->physical_);
    host->storage16_ = capabilities.storage_f16;
    host->exports_ = capabilities.import_external;
    const float priority = 1;
    auto queue = structure<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
    queue.queueFamilyIndex = host->family_;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    auto storage = structure<VkPhysicalDevice16BitStorageFeatures>(
        VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES);
    storage.storageBuffer16BitAccess = host->storage16_ ? VK_TRUE : VK_FALSE;
    auto device = structure<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
    device.pNext = &storage;
    device.queueCreateInfoCount = 1;
    device.pQueueCreateInfos = &queue;
    const char* const export_memory = VK_KHR_EXTERNAL_MEMORY_FD_EXTENSION_NAME;
    if (host->exports_) {
        device.enabledExtensionCount = 1;
        device.ppEnabledExtensionNames = &export_memory;
    }
    check(api.CreateDevice(host->physical_, &device, nullptr, &host->device_), "vkCreateDevice");
    host->api_.load(api, host->device_);
    host->api_.GetDeviceQueue(host->device_, host->family_, 0, &host->queue_);
    auto pool = structure<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
    pool.queueFamilyIndex = host->family_;
    check(host->api_.CreateCommandPool(host->device_, &pool, nullptr, &host->pool_), "vkCreateCommandPool");
    return host;
}

PconvNativeDevice VulkanHost::native() const {
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = "vulkan";
    native.vulkan_instance = instance_;
    native.vulkan_physical_device = physical_;
    native.vulkan_device = device_;
    native.vulkan_queue = queue_;
    native.vulkan_queue_family = family_;
    return native;
}

vulkan::BorrowedDevice VulkanHost::lent() const {
    return {device_, queue_, family_, false};
}

VulkanHost::Memory VulkanHost::makeBuffer(size_t bytes) {
    auto allocate = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    return makeBuffer(bytes, Sharing::none, allocate);
}

VulkanHost::Shared VulkanHost::makeShared(size_t bytes, bool dedicated) {
    Shared shared;
    if (!exports_) return shared;
    auto allocate = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
    shared.memory = makeBuffer(bytes, dedicated ? Sharing::exported_alone : Sharing::exported, allocate);
    shared.external.dedicated = dedicated ? 1 : 0;
    auto info = structure<VkMemoryGetFdInfoKHR>(VK_STRUCTURE_TYPE_MEMORY_GET_FD_INFO_KHR);
    info.memory = shared.memory.memory;
    info.handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    int descriptor = -1;
    check(reinterpret_cast<PFN_vkGetMemoryFdKHR>(
              instance_api_.GetDeviceProcAddr(device_, "vkGetMemoryFdKHR"))(device_, &info, &descriptor),
          "vkGetMemoryFdKHR");
    shared.external.handle = descriptor;
    shared.external.size = allocate.allocationSize;
    shared.external.memory_type = allocate.memoryTypeIndex;
    return shared;
}

VulkanHost::Memory VulkanHost::makeBuffer(size_t bytes, Sharing sharing, VkMemoryAllocateInfo& allocate) {
    Memory made;
    auto external =
        structure<VkExternalMemoryBufferCreateInfo>(VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    auto exporting = structure<VkExportMemoryAllocateInfo>(VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO);
    exporting.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_OPAQUE_FD_BIT;
    auto info = structure<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
    if (sharing != Sharing::none) info.pNext = &external;
    info.size = bytes;
    info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                 VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    check(api_.CreateBuffer(device_, &info, nullptr, &made.buffer), "vkCreateBuffer");
    VkMemoryRequirements needs;
    api_.GetBufferMemoryRequirements(device_, made.buffer, &needs);
    VkPhysicalDeviceMemoryProperties memory;
    instance_api_.GetPhysicalDeviceMemoryProperties(physical_, &memory);
    constexpr VkMemoryPropertyFlags kSeen =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while ((needs.memoryTypeBits >> type & 1) == 0 ||
           (memory.memoryTypes[type].propertyFlags & kSeen) != kSeen)
        ++type;
    auto alone = structure<VkMemoryDedicatedAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
    alone.buffer = made.buffer;
    if (sharing != Sharing::none) allocate.pNext = &exporting;
    if (sharing == Sharing::exported_alone) exporting.pNext = &alone;
    allocate.allocationSize = needs.size;
    allocate.memoryTypeIndex = type;
    check(api_.AllocateMemory(device_, &allocate, nullptr, &made.memory), "vkAllocateMemory");
    check(api_.BindBufferMemory(device_, made.buffer, made.memory, 0), "vkBindBufferMemory");
    void* mapped = nullptr;
    check(api_.MapMemory(device_, made.memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory");
    made.mapped = static_cast<char*>(mapped);
    buffers_.push_back(made);
    allocate.pNext = nullptr;
    return made;
}

// After what was submitted before by this host; of pconv's work it says nothing.
VkCommandBuffer VulkanHost::begin() {
    auto info = structure<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
    info.commandPool = pool_;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    check(api_.AllocateCommandBuffers(device_, &info, &commands), "vkAllocateCommandBuffers");
    const auto begin = structure<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
    check(api_.BeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    auto memory = structure<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
    memory.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    memory.dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    api_.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_TRANSFER_BIT, 0, 1,
                            &memory, 0, nullptr, 0, nullptr);
    return commands;
}

void VulkanHost::submit(VkCommandBuffer commands) {
    check(api_.EndCommandBuffer(commands), "vkEndCommandBuffer");
    auto info = structure<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
    info.commandBufferCount = 1;
    info.pCommandBuffers = &commands;
    check(api_.QueueSubmit(queue_, 1, &info, VK_NULL_HANDLE), "vkQueueSubmit");
}

void VulkanHost::copy(const Memory& from, size_t from_offset, const Memory& to, size_t to_offset,
                      size_t bytes) {
    VkCommandBuffer commands = begin();
    const VkBufferCopy region{from_offset, to_offset, bytes};
    api_.CmdCopyBuffer(commands, from.buffer, to.buffer, 1, &region);
    submit(commands);
}

void VulkanHost::fill(const Memory& to, size_t offset, size_t bytes, uint32_t value) {
    VkCommandBuffer commands = begin();
    api_.CmdFillBuffer(commands, to.buffer, offset, bytes, value);
    submit(commands);
}

void VulkanHost::wait() {
    check(api_.QueueWaitIdle(queue_), "vkQueueWaitIdle");
}

std::string VulkanHost::close() {
    if (instance_ == VK_NULL_HANDLE) return log_.first();
    if (device_ != VK_NULL_HANDLE) {
        wait();
        for (const Memory& made : buffers_) {
            api_.DestroyBuffer(device_, made.buffer, nullptr);
            api_.FreeMemory(device_, made.memory, nullptr);
        }
        api_.DestroyCommandPool(device_, pool_, nullptr);
        api_.DestroyDevice(device_, nullptr);
    }
    if (messenger_ != VK_NULL_HANDLE)
        reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(loader_->GetInstanceProcAddr(
            instance_, "vkDestroyDebugUtilsMessengerEXT"))(instance_, messenger_, nullptr);
    instance_api_.DestroyInstance(instance_, nullptr);
    instance_ = VK_NULL_HANDLE;
    return log_.first();
}

void OnVulkanHost::SetUp() {
    std::string reason;
    host_ = VulkanHost::create(reason);
    if (host_ == nullptr) GTEST_SKIP() << "no Vulkan device: " << reason;
    // Drivers and layers forget memory when they are unloaded, which the sanitizer would lay at our door.
    static const auto* const held = VulkanHost::create(reason).release();
    ASSERT_NE(held, nullptr) << reason;
}

void OnVulkanHost::TearDown() {
    if (host_ == nullptr) return;
    EXPECT_EQ(host_->close(), "");
}

}  // namespace pconv::test
