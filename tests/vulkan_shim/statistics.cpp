// What a driver's compiler says of every pipeline: registers, spills, cycles. Nothing runs, as the drivers
// asked are those of GPUs that are not there.
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <vector>

#include "shader_names.h"
#include "shim.h"

namespace pconv::shim {

namespace {

std::mutex mutex;
std::map<VkShaderModule, std::string> modules;
std::set<std::string> seen;

VKAPI_ATTR VkResult VKAPI_CALL createShaderModule(VkDevice device, const VkShaderModuleCreateInfo* info,
                                                  const VkAllocationCallbacks* callbacks,
                                                  VkShaderModule* module) {
    const VkResult result = PCONV_SHIM_DEVICE(device, vkCreateShaderModule)(device, info, callbacks, module);
    const std::lock_guard<std::mutex> lock(mutex);
    if (result == VK_SUCCESS) modules[*module] = shaderName({info->pCode, info->pCode + info->codeSize / 4});
    return result;
}

// "partial_conv_gemm_f32 0=256 1=1": the shader and its specialization constants.
std::string describe(const VkPipelineShaderStageCreateInfo& stage) {
    std::string text = modules[stage.module];
    if (stage.pSpecializationInfo == nullptr) return text;
    for (uint32_t i = 0; i < stage.pSpecializationInfo->mapEntryCount; ++i) {
        const VkSpecializationMapEntry& entry = stage.pSpecializationInfo->pMapEntries[i];
        uint32_t value = 0;
        std::memcpy(&value, static_cast<const char*>(stage.pSpecializationInfo->pData) + entry.offset, 4);
        text += " " + std::to_string(entry.constantID) + "=" + std::to_string(value);
    }
    return text;
}

void print(VkDevice device, VkPipeline pipeline, const std::string& what, std::FILE* file) {
    VkPipelineInfoKHR info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR;
    info.pipeline = pipeline;
    uint32_t count = 0;
    const auto properties = PCONV_SHIM_DEVICE(device, vkGetPipelineExecutablePropertiesKHR);
    const auto statistics = PCONV_SHIM_DEVICE(device, vkGetPipelineExecutableStatisticsKHR);
    properties(device, &info, &count, nullptr);
    for (uint32_t i = 0; i < count; ++i) {
        VkPipelineExecutableInfoKHR executable{};
        executable.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR;
        executable.pipeline = pipeline;
        executable.executableIndex = i;
        uint32_t values = 0;
        statistics(device, &executable, &values, nullptr);
        VkPipelineExecutableStatisticKHR empty{};
        empty.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
        std::vector<VkPipelineExecutableStatisticKHR> all(values, empty);
        statistics(device, &executable, &values, all.data());
        std::fprintf(file, "%s", what.c_str());
        for (const VkPipelineExecutableStatisticKHR& one : all) {
            const bool is_float = one.format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR;
            std::fprintf(file, "\t%s=%.0f", one.name,
                         is_float ? one.value.f64 : static_cast<double>(one.value.u64));
        }
        std::fprintf(file, "\n");
    }
}

VKAPI_ATTR VkResult VKAPI_CALL createPipelines(VkDevice device, VkPipelineCache /*cache*/, uint32_t count,
                                               const VkComputePipelineCreateInfo* infos,
                                               const VkAllocationCallbacks* callbacks,
                                               VkPipeline* pipelines) {
    std::vector<VkComputePipelineCreateInfo> changed(infos, infos + count);
    for (VkComputePipelineCreateInfo& info : changed)
        info.flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR;
    const VkResult result = PCONV_SHIM_DEVICE(device, vkCreateComputePipelines)(
        device, VK_NULL_HANDLE, count, changed.data(), callbacks, pipelines);
    const std::lock_guard<std::mutex> lock(mutex);
    std::FILE* file = std::fopen(settings().statistics.c_str(), "a");
    if (file == nullptr) return result;
    for (uint32_t i = 0; i < count; ++i) {
        const std::string what = describe(infos[i].stage);
        if (result != VK_SUCCESS)
            std::fprintf(file, "%s\tfailed=%d\n", what.c_str(), static_cast<int>(result));
        else if (seen.insert(what).second)
            print(device, pipelines[i], what, file);
    }
    std::fclose(file);
    return result;
}

VKAPI_ATTR VkResult VKAPI_CALL submit(VkQueue, uint32_t, const VkSubmitInfo*, VkFence) {
    return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL waitForFences(VkDevice, uint32_t, const VkFence*, VkBool32, uint64_t) {
    return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL fenceStatus(VkDevice, VkFence) {
    return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL waitIdle(VkQueue) {
    return VK_SUCCESS;
}
VKAPI_ATTR VkResult VKAPI_CALL queryResults(VkDevice, VkQueryPool, uint32_t, uint32_t, size_t, void*,
                                            VkDeviceSize, VkQueryResultFlags) {
    return VK_NOT_READY;
}

}  // namespace

PFN_vkVoidFunction statisticsFunction(const char* name) {
    if (settings().statistics.empty()) return nullptr;
    const std::pair<const char*, PFN_vkVoidFunction> functions[] = {
        {"vkCreateShaderModule", reinterpret_cast<PFN_vkVoidFunction>(createShaderModule)},
        {"vkCreateComputePipelines", reinterpret_cast<PFN_vkVoidFunction>(createPipelines)},
        {"vkQueueSubmit", reinterpret_cast<PFN_vkVoidFunction>(submit)},
        {"vkWaitForFences", reinterpret_cast<PFN_vkVoidFunction>(waitForFences)},
        {"vkGetFenceStatus", reinterpret_cast<PFN_vkVoidFunction>(fenceStatus)},
        {"vkQueueWaitIdle", reinterpret_cast<PFN_vkVoidFunction>(waitIdle)},
        {"vkGetQueryPoolResults", reinterpret_cast<PFN_vkVoidFunction>(queryResults)}};
    for (const auto& [known, function] : functions)
        if (std::strcmp(name, known) == 0) return function;
    return nullptr;
}

}  // namespace pconv::shim
