#include "vulkan/device/instance.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

namespace pconv::vulkan {

namespace {

constexpr char kValidationLayer[] = "VK_LAYER_KHRONOS_validation";
constexpr char kPortabilityEnumeration[] = "VK_KHR_portability_enumeration";

VKAPI_ATTR VkBool32 VKAPI_CALL onMessage(VkDebugUtilsMessageSeverityFlagBitsEXT /*severity*/,
                                         VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                         const VkDebugUtilsMessengerCallbackDataEXT* data, void* log) {
    static_cast<ValidationLog*>(log)->add(data->pMessage != nullptr ? data->pMessage
                                                                    : "a message without text");
    return VK_FALSE;
}

bool hasLayer(const Loader& loader, const char* name) {
    uint32_t count = 0;
    loader.EnumerateInstanceLayerProperties(&count, nullptr);
    std::vector<VkLayerProperties> layers(count);
    loader.EnumerateInstanceLayerProperties(&count, layers.data());
    return std::any_of(layers.begin(), layers.end(), [&](const VkLayerProperties& layer) {
        return std::strcmp(layer.layerName, name) == 0;
    });
}

bool hasExtension(const Loader& loader, const char* name) {
    uint32_t count = 0;
    loader.EnumerateInstanceExtensionProperties(nullptr, &count, nullptr);
    std::vector<VkExtensionProperties> extensions(count);
    loader.EnumerateInstanceExtensionProperties(nullptr, &count, extensions.data());
    return std::any_of(extensions.begin(), extensions.end(), [&](const VkExtensionProperties& extension) {
        return std::strcmp(extension.extensionName, name) == 0;
    });
}

}  // namespace

void ValidationLog::add(const char* text) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (count_++ == 0) {
        first_ = text;
        std::replace(first_.begin(), first_.end(), '\n', ' ');
    }
}

std::string ValidationLog::first() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return first_;
}

bool Instance::wantsValidation() {
    const char* text = std::getenv("PCONV_VULKAN_VALIDATION");
    return text != nullptr && std::strcmp(text, "0") != 0 && *text != '\0';
}

std::shared_ptr<Instance> Instance::create(std::string& reason) {
    auto instance = std::make_shared<Instance>();
    instance->loader_ = Loader::open(reason);
    if (instance->loader_ == nullptr || !instance->createInstance(reason)) return nullptr;
    instance->findDevices(reason);
    return instance->devices_.empty() ? nullptr : instance;
}

bool Instance::createInstance(std::string& reason) {
    const bool validate = wantsValidation();
    if (validate && !hasLayer(*loader_, kValidationLayer)) {
        reason = std::string("PCONV_VULKAN_VALIDATION is set, but ") + kValidationLayer + " is not installed";
        return false;
    }
    auto application = structure<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
    application.pEngineName = "pconv";
    application.apiVersion = VK_API_VERSION_1_1;

    std::vector<const char*> extensions;
    auto info = structure<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
    info.pApplicationInfo = &application;
    if (hasExtension(*loader_, kPortabilityEnumeration)) {
        extensions.push_back(kPortabilityEnumeration);
        info.flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    }
    auto messenger = structure<VkDebugUtilsMessengerCreateInfoEXT>(
        VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT);
    messenger.messageSeverity =
        VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
    messenger.pfnUserCallback = onMessage;
    messenger.pUserData = &log_;
    const VkValidationFeatureEnableEXT enabled[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    auto features = structure<VkValidationFeaturesEXT>(VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT);
    features.enabledValidationFeatureCount = 1;
    features.pEnabledValidationFeatures = enabled;
    const char* const layer = kValidationLayer;
    if (validate) {
        extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = &layer;
        features.pNext = &messenger;
        info.pNext = &features;
    }
    info.enabledExtensionCount = static_cast<uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    const VkResult result = loader_->CreateInstance(&info, nullptr, &instance_);
    if (result != VK_SUCCESS) {
        instance_ = VK_NULL_HANDLE;
        reason = result == VK_ERROR_INCOMPATIBLE_DRIVER
                     ? "no Vulkan driver is installed"
                     : "vkCreateInstance failed: the driver answered " + std::to_string(result);
        return false;
    }
    api_.load(*loader_, instance_);
    if (validate) {
        const auto create = reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(
            loader_->GetInstanceProcAddr(instance_, "vkCreateDebugUtilsMessengerEXT"));
        check(create(instance_, &messenger, nullptr, &messenger_), "vkCreateDebugUtilsMessengerEXT");
    }
    return true;
}

std::shared_ptr<Instance> Instance::borrow(VkInstance handle) {
    auto instance = std::make_shared<Instance>();
    instance->owned_ = false;
    instance->instance_ = handle;
    std::string reason;
    instance->loader_ = Loader::open(reason);
    if (instance->loader_ == nullptr) fail(PCONV_ERROR_NO_DEVICE, "no vulkan device: " + reason);
    instance->api_.load(*instance->loader_, handle);
    if (instance->api_.GetPhysicalDeviceProperties2 == nullptr)
        fail(PCONV_ERROR_UNSUPPORTED, "native->vulkan_instance was made for Vulkan 1.0; 1.1 is needed");
    instance->devices_ = instance->allDevices();
    return instance;
}

std::vector<VkPhysicalDevice> Instance::allDevices() const {
    uint32_t count = 0;
    std::vector<VkPhysicalDevice> all;
    if (api_.EnumeratePhysicalDevices(instance_, &count, nullptr) >= 0) {
        all.resize(count);
        if (api_.EnumeratePhysicalDevices(instance_, &count, all.data()) < 0) count = 0;
        all.resize(count);
    }
    return all;
}

void Instance::findDevices(std::string& reason) {
    for (VkPhysicalDevice device : allDevices()) {
        VkPhysicalDeviceProperties properties;
        api_.GetPhysicalDeviceProperties(device, &properties);
        if (properties.apiVersion < VK_API_VERSION_1_1)
            reason = std::string(properties.deviceName) + " knows only Vulkan 1.0; 1.1 is needed";
        else if (computeQueueFamily(api_, device) < 0)
            reason = std::string(properties.deviceName) + " has no compute queue";
        else
            devices_.push_back(device);
    }
    if (devices_.empty() && reason.empty()) reason = "no Vulkan driver has a device";
}

Instance::~Instance() {
    if (instance_ == VK_NULL_HANDLE || !owned_) return;
    if (messenger_ != VK_NULL_HANDLE) {
        const auto destroy = reinterpret_cast<PFN_vkDestroyDebugUtilsMessengerEXT>(
            loader_->GetInstanceProcAddr(instance_, "vkDestroyDebugUtilsMessengerEXT"));
        destroy(instance_, messenger_, nullptr);
    }
    api_.DestroyInstance(instance_, nullptr);
}

void Instance::checkValidation() const {
    if (log_.count() == 0) return;
    fail(PCONV_ERROR_DEVICE, std::to_string(log_.count()) +
                                 " messages of the Vulkan validation layer; the first: " + log_.first());
}

int computeQueueFamily(const InstanceApi& api, VkPhysicalDevice device) {
    uint32_t count = 0;
    api.GetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    api.GetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
    int found = -1;
    for (uint32_t i = 0; i < count; ++i) {
        if ((families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0) continue;
        if ((families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) != 0) return static_cast<int>(i);
        if (found < 0) found = static_cast<int>(i);
    }
    return found;
}

}  // namespace pconv::vulkan
