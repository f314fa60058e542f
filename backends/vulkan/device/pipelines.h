// Compute pipelines, made from the table of shaders on first need and shared by all operators of a device.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vulkan/device/pipeline_cache.h"

namespace pconv::vulkan {

constexpr uint32_t kMaxStorageBindings = 8;

// Why the device's shaders cannot see all buffers that those of an operator read and write, of which Vulkan
// guarantees four; "" where they can.
std::string tooFewBindings(const Capabilities& capabilities);

// A shader of shaders/variants.cmake.
struct Shader {
    const char* name;
    const uint32_t* code;
    size_t code_bytes;
    uint32_t storage_bindings;  // bindings 0 to here are storage buffers
    bool has_params;            // the binding after them is a uniform buffer
};

// Throws Error internal for a name that is not in the table.
const Shader& findShader(const std::string& name);
const std::vector<Shader>& allShaders();

struct Pipeline {
    VkPipeline pipeline = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
    uint32_t storage_bindings = 0;
};

// Values by constant id, see shaders/specialization.h. SPEC_SUBGROUP is the size of the pipeline's subgroups
// as well, all of them full.
using Specialization = std::map<uint32_t, uint32_t>;

class Pipelines {
  public:
    explicit Pipelines(Context& context) : context_(context) {}
    Pipelines(const Pipelines&) = delete;
    Pipelines& operator=(const Pipelines&) = delete;
    ~Pipelines();

    // Alive as long as this object.
    const Pipeline& get(const std::string& shader, const Specialization& constants);
    size_t count() const { return pipelines_.size(); }

  private:
    void makeLayout(const Shader& shader, Pipeline& pipeline) const;
    void makePipeline(const Shader& shader, const Specialization& constants, Pipeline& pipeline);
    void destroy(const Pipeline& pipeline) const noexcept;

    Context& context_;
    std::unique_ptr<PipelineCache> cache_;
    std::map<std::pair<std::string, Specialization>, Pipeline> pipelines_;
};

}  // namespace pconv::vulkan
