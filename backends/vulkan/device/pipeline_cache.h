// The driver's pipeline cache, kept on disk from run to run: a file for each device and driver version.
#pragma once

#include <string>

#include "vulkan/device/context.h"

namespace pconv::vulkan {

class PipelineCache {
  public:
    explicit PipelineCache(Context& context);
    PipelineCache(const PipelineCache&) = delete;
    PipelineCache& operator=(const PipelineCache&) = delete;
    ~PipelineCache();  // saves where the data has changed; failing to is no error

    VkPipelineCache handle() const { return cache_; }
    const std::string& path() const { return path_; }

  private:
    bool fitsDevice(const std::string& data) const;
    std::string data() const;
    void save() const;

    Context& context_;
    std::string path_;
    std::string loaded_;
    VkPipelineCache cache_ = VK_NULL_HANDLE;
};

}  // namespace pconv::vulkan
