// The driver's pipeline cache, kept on disk from run to run: a file for each device and driver version.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vulkan_context.h"

namespace pconv::vulkan {

// The user's folder for caches of this library: PCONV_CACHE_DIR, else the platform's; "" where there is none.
std::string cacheFolder();

// The file's form: a header with length and checksum before the driver's data, as drivers are not to be
// trusted with damaged data. `unwrap` answers nothing where anything is not as `wrap` left it.
std::vector<uint8_t> wrapCache(const std::vector<uint8_t>& data);
std::vector<uint8_t> unwrapCache(const std::vector<uint8_t>& file);

class PipelineCache {
  public:
    explicit PipelineCache(Context& context);
    PipelineCache(const PipelineCache&) = delete;
    PipelineCache& operator=(const PipelineCache&) = delete;
    ~PipelineCache();  // saves where the data has changed; failing to is no error

    VkPipelineCache handle() const { return cache_; }
    const std::string& path() const { return path_; }

  private:
    bool fitsDevice(const std::vector<uint8_t>& data) const;
    std::vector<uint8_t> data() const;
    void save() const;

    Context& context_;
    std::string path_;
    std::vector<uint8_t> loaded_;
    VkPipelineCache cache_ = VK_NULL_HANDLE;
};

}  // namespace pconv::vulkan
