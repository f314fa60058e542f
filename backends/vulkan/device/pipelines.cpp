#include "vulkan/device/pipelines.h"

#include <cstring>

#include "../../../shaders/specialization.h"

namespace pconv::vulkan {

std::string tooFewBindings(const Capabilities& capabilities) {
    const uint32_t most = capabilities.properties.limits.maxPerStageDescriptorStorageBuffers;
    if (most >= kMaxStorageBindings) return "";
    return "the device binds " + std::to_string(most) + " storage buffers at once; " +
           std::to_string(kMaxStorageBindings) + " are needed";
}

const Shader& findShader(const std::string& name) {
    for (const Shader& shader : allShaders())
        if (name == shader.name) return shader;
    fail(PCONV_ERROR_INTERNAL, "no shader '" + name + "'");
}

Pipelines::~Pipelines() {
    for (const auto& entry : pipelines_) destroy(entry.second);
}

void Pipelines::destroy(const Pipeline& pipeline) const noexcept {
    const DeviceApi& api = context_.api();
    api.DestroyPipeline(context_.device(), pipeline.pipeline, nullptr);
    api.DestroyPipelineLayout(context_.device(), pipeline.layout, nullptr);
    api.DestroyDescriptorSetLayout(context_.device(), pipeline.set_layout, nullptr);
}

const Pipeline& Pipelines::get(const std::string& shader, const Specialization& constants) {
    const auto key = std::make_pair(shader, constants);
    const auto found = pipelines_.find(key);
    if (found != pipelines_.end()) return found->second;
    if (cache_ == nullptr) cache_ = std::make_unique<PipelineCache>(context_);
    Pipeline pipeline;
    try {
        const Shader& code = findShader(shader);
        makeLayout(code, pipeline);
        makePipeline(code, constants, pipeline);
        return pipelines_.emplace(key, pipeline).first->second;
    } catch (...) {
        destroy(pipeline);
        throw;
    }
}

void Pipelines::makeLayout(const Shader& shader, Pipeline& pipeline) const {
    const DeviceApi& api = context_.api();
    std::vector<VkDescriptorSetLayoutBinding> bindings;
    for (uint32_t i = 0; i < shader.storage_bindings + (shader.has_params ? 1 : 0); ++i)
        bindings.push_back({i,
                            i < shader.storage_bindings ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                        : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                            1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
    auto set =
        structure<VkDescriptorSetLayoutCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO);
    set.bindingCount = static_cast<uint32_t>(bindings.size());
    set.pBindings = bindings.data();
    pipeline.storage_bindings = shader.storage_bindings;
    check(api.CreateDescriptorSetLayout(context_.device(), &set, nullptr, &pipeline.set_layout),
          "vkCreateDescriptorSetLayout");
    const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, 128};  // what every device has
    auto layout = structure<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
    layout.setLayoutCount = 1;
    layout.pSetLayouts = &pipeline.set_layout;
    layout.pushConstantRangeCount = 1;
    layout.pPushConstantRanges = &push;
    check(api.CreatePipelineLayout(context_.device(), &layout, nullptr, &pipeline.layout),
          "vkCreatePipelineLayout");
}

void Pipelines::makePipeline(const Shader& shader, const Specialization& constants, Pipeline& pipeline) {
    const DeviceApi& api = context_.api();
    auto code = structure<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
    code.codeSize = shader.code_bytes;
    code.pCode = shader.code;
    VkShaderModule module = VK_NULL_HANDLE;
    check(api.CreateShaderModule(context_.device(), &code, nullptr, &module), "vkCreateShaderModule");

    std::vector<VkSpecializationMapEntry> entries;
    std::vector<uint32_t> values;
    for (const auto& [id, value] : constants) {
        entries.push_back({id, static_cast<uint32_t>(values.size() * sizeof(uint32_t)), sizeof(uint32_t)});
        values.push_back(value);
    }
    const VkSpecializationInfo specialization{static_cast<uint32_t>(entries.size()), entries.data(),
                                              values.size() * sizeof(uint32_t), values.data()};
    auto info = structure<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module;
    info.stage.pName = "main";
    info.stage.pSpecializationInfo = &specialization;
    info.layout = pipeline.layout;
    auto subgroup = structure<VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT>(
        VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT);
    const auto size = constants.find(SPEC_SUBGROUP);
    if (size != constants.end()) {
        subgroup.requiredSubgroupSize = size->second;
        if (context_.capabilities().matrices.chosen) info.stage.pNext = &subgroup;
        info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT;
    }
    const VkResult result = api.CreateComputePipelines(context_.device(), cache_->handle(), 1, &info, nullptr,
                                                       &pipeline.pipeline);
    api.DestroyShaderModule(context_.device(), module, nullptr);
    check(result, "compiling a shader");
}

}  // namespace pconv::vulkan
