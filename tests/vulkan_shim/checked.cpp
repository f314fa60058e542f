// Every access of a storage buffer held to what is bound: shaders are changed on their way to the driver, and
// a buffer of this library's own is bound beside theirs, for them to report to.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "shader_names.h"
#include "shim.h"
#include "spirv.h"

namespace pconv::shim {

namespace {

constexpr uint32_t kWords = 1 << 16;

std::mutex mutex;
std::map<std::vector<uint32_t>, CheckedShader> shaders;
std::vector<std::string> sites{""};  // by word of the report; word 0 is for accesses that are within
std::vector<bool> told(kWords, false);
struct Report {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    volatile uint32_t* words = nullptr;
};
std::map<VkDevice, Report> reports;
bool any_outside = false;

void failAtExit() {
    if (any_outside) std::_Exit(86);
}

void tell(Report& report) {
    const std::lock_guard<std::mutex> lock(mutex);
    for (size_t i = 1; i < sites.size(); ++i) {
        if (report.words[i] == 0 || told[i]) continue;
        told[i] = true;
        any_outside = true;
        std::fprintf(stderr, "pconv_vulkan_shim: outside of what is bound: %s: index %d\n", sites[i].c_str(),
                     static_cast<int>(report.words[i] - 1));
    }
}

void tell(VkDevice device) {
    const auto found = reports.find(device);
    if (found != reports.end()) tell(found->second);
}

VKAPI_ATTR VkResult VKAPI_CALL createShaderModule(VkDevice device, const VkShaderModuleCreateInfo* info,
                                                  const VkAllocationCallbacks* callbacks,
                                                  VkShaderModule* module) {
    const std::vector<uint32_t> code(info->pCode, info->pCode + info->codeSize / 4);
    VkShaderModuleCreateInfo changed = *info;
    {
        const std::lock_guard<std::mutex> lock(mutex);
        auto found = shaders.find(code);
        if (found == shaders.end()) {
            CheckedShader shader = checkAccesses(code, static_cast<uint32_t>(sites.size()));
            const std::string name = shaderName(code);
            for (const std::string& site : shader.sites) sites.push_back(name + ", " + site);
            if (sites.size() > kWords) std::abort();
            found = shaders.emplace(code, std::move(shader)).first;
        }
        changed.codeSize = 4 * found->second.code.size();
        changed.pCode = found->second.code.data();
    }
    return PCONV_SHIM_DEVICE(device, vkCreateShaderModule)(device, &changed, callbacks, module);
}

VKAPI_ATTR VkResult VKAPI_CALL createSetLayout(VkDevice device, const VkDescriptorSetLayoutCreateInfo* info,
                                               const VkAllocationCallbacks* callbacks,
                                               VkDescriptorSetLayout* layout) {
    std::vector<VkDescriptorSetLayoutBinding> bindings(info->pBindings, info->pBindings + info->bindingCount);
    bindings.push_back(
        {kReportBinding, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
    VkDescriptorSetLayoutCreateInfo changed = *info;
    changed.bindingCount = static_cast<uint32_t>(bindings.size());
    changed.pBindings = bindings.data();
    return PCONV_SHIM_DEVICE(device, vkCreateDescriptorSetLayout)(device, &changed, callbacks, layout);
}

VKAPI_ATTR VkResult VKAPI_CALL createPool(VkDevice device, const VkDescriptorPoolCreateInfo* info,
                                          const VkAllocationCallbacks* callbacks, VkDescriptorPool* pool) {
    std::vector<VkDescriptorPoolSize> sizes(info->pPoolSizes, info->pPoolSizes + info->poolSizeCount);
    sizes.push_back({VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, info->maxSets});
    VkDescriptorPoolCreateInfo changed = *info;
    changed.poolSizeCount = static_cast<uint32_t>(sizes.size());
    changed.pPoolSizes = sizes.data();
    return PCONV_SHIM_DEVICE(device, vkCreateDescriptorPool)(device, &changed, callbacks, pool);
}

VKAPI_ATTR VkResult VKAPI_CALL allocateSets(VkDevice device, const VkDescriptorSetAllocateInfo* info,
                                            VkDescriptorSet* sets) {
    const VkResult result = PCONV_SHIM_DEVICE(device, vkAllocateDescriptorSets)(device, info, sets);
    if (result != VK_SUCCESS) return result;
    const VkDescriptorBufferInfo buffer{reports.at(device).buffer, 0, VK_WHOLE_SIZE};
    for (uint32_t i = 0; i < info->descriptorSetCount; ++i) {
        VkWriteDescriptorSet write{};
        write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
        write.dstSet = sets[i];
        write.dstBinding = kReportBinding;
        write.descriptorCount = 1;
        write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
        write.pBufferInfo = &buffer;
        PCONV_SHIM_DEVICE(device, vkUpdateDescriptorSets)(device, 1, &write, 0, nullptr);
    }
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL waitForFences(VkDevice device, uint32_t count, const VkFence* fences,
                                             VkBool32 all, uint64_t timeout) {
    const VkResult result = PCONV_SHIM_DEVICE(device, vkWaitForFences)(device, count, fences, all, timeout);
    tell(device);
    return result;
}

VKAPI_ATTR void VKAPI_CALL destroyDevice(VkDevice device, const VkAllocationCallbacks* callbacks) {
    const auto found = reports.find(device);
    if (found != reports.end()) {
        tell(found->second);
        PCONV_SHIM_DEVICE(device, vkDestroyBuffer)(device, found->second.buffer, nullptr);
        PCONV_SHIM_DEVICE(device, vkFreeMemory)(device, found->second.memory, nullptr);
        reports.erase(found);
    }
    PCONV_SHIM_DEVICE(device, vkDestroyDevice)(device, callbacks);
}

}  // namespace

void prepareChecks(VkPhysicalDevice physical, VkDevice device) {
    if (!settings().check_accesses) return;
    static const int registered = std::atexit(failAtExit);
    static_cast<void>(registered);
    Report report;
    VkBufferCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    info.size = 4 * kWords;
    info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
    PCONV_SHIM_DEVICE(device, vkCreateBuffer)(device, &info, nullptr, &report.buffer);
    VkMemoryRequirements needs;
    PCONV_SHIM_DEVICE(device, vkGetBufferMemoryRequirements)(device, report.buffer, &needs);
    VkPhysicalDeviceMemoryProperties memory;
    PCONV_SHIM_INSTANCE(vkGetPhysicalDeviceMemoryProperties)(physical, &memory);
    constexpr VkMemoryPropertyFlags kWanted =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    uint32_t type = 0;
    while ((needs.memoryTypeBits >> type & 1) == 0 ||
           (memory.memoryTypes[type].propertyFlags & kWanted) != kWanted)
        ++type;
    VkMemoryAllocateInfo allocation{};
    allocation.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
    allocation.allocationSize = needs.size;
    allocation.memoryTypeIndex = type;
    void* words = nullptr;
    if (PCONV_SHIM_DEVICE(device, vkAllocateMemory)(device, &allocation, nullptr, &report.memory) !=
            VK_SUCCESS ||
        PCONV_SHIM_DEVICE(device, vkMapMemory)(device, report.memory, 0, VK_WHOLE_SIZE, 0, &words) !=
            VK_SUCCESS)
        std::abort();
    std::memset(words, 0, 4 * kWords);
    report.words = static_cast<volatile uint32_t*>(words);
    PCONV_SHIM_DEVICE(device, vkBindBufferMemory)(device, report.buffer, report.memory, 0);
    reports[device] = report;
}

PFN_vkVoidFunction checkedFunction(const char* name) {
    if (!settings().check_accesses) return nullptr;
    const std::pair<const char*, PFN_vkVoidFunction> functions[] = {
        {"vkCreateShaderModule", reinterpret_cast<PFN_vkVoidFunction>(createShaderModule)},
        {"vkCreateDescriptorSetLayout", reinterpret_cast<PFN_vkVoidFunction>(createSetLayout)},
        {"vkCreateDescriptorPool", reinterpret_cast<PFN_vkVoidFunction>(createPool)},
        {"vkAllocateDescriptorSets", reinterpret_cast<PFN_vkVoidFunction>(allocateSets)},
        {"vkWaitForFences", reinterpret_cast<PFN_vkVoidFunction>(waitForFences)},
        {"vkDestroyDevice", reinterpret_cast<PFN_vkVoidFunction>(destroyDevice)}};
    for (const auto& [known, function] : functions)
        if (std::strcmp(name, known) == 0) return function;
    return nullptr;
}

}  // namespace pconv::shim
