#include "vulkan/device/pipeline_cache.h"

#include <cstdint>
#include <cstring>
#include <filesystem>

#include "platform/cache_file.h"

namespace pconv::vulkan {

namespace {

std::string hex(const uint8_t* bytes, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
        text += "0123456789abcdef"[bytes[i] >> 4];
        text += "0123456789abcdef"[bytes[i] & 15];
    }
    return text;
}

}  // namespace

PipelineCache::PipelineCache(Context& context) : context_(context) {
    const Capabilities& capabilities = context.capabilities();
    const std::string folder = platform::cacheFolder();
    if (!folder.empty())
        path_ = (std::filesystem::path(folder) /
                 ("vulkan-" + hex(capabilities.info.uuid.data(), VK_UUID_SIZE) + "-" +
                  hex(capabilities.driver_uuid, VK_UUID_SIZE) + "-" +
                  hex(capabilities.properties.pipelineCacheUUID, VK_UUID_SIZE) + ".bin"))
                    .string();
    if (!path_.empty()) loaded_ = platform::readCacheFile(path_);
    if (!fitsDevice(loaded_)) loaded_.clear();

    auto info = structure<VkPipelineCacheCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO);
    info.initialDataSize = loaded_.size();
    info.pInitialData = loaded_.empty() ? nullptr : loaded_.data();
    check(context.api().CreatePipelineCache(context.device(), &info, nullptr, &cache_),
          "vkCreatePipelineCache");
}

PipelineCache::~PipelineCache() {
    try {
        save();
    } catch (const std::exception&) {
        // A cache that cannot be kept costs the next run time, nothing else.
    }
    context_.api().DestroyPipelineCache(context_.device(), cache_, nullptr);
}

// The header that Vulkan prescribes, in the host's byte order: its size, version one, vendor, device, and the
// UUID of this very driver.
bool PipelineCache::fitsDevice(const std::string& data) const {
    uint32_t header[4];
    if (data.size() < sizeof header + VK_UUID_SIZE) return false;
    std::memcpy(header, data.data(), sizeof header);
    const VkPhysicalDeviceProperties& properties = context_.capabilities().properties;
    return header[0] >= sizeof header + VK_UUID_SIZE && header[1] == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           header[2] == properties.vendorID && header[3] == properties.deviceID &&
           std::memcmp(data.data() + sizeof header, properties.pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

std::string PipelineCache::data() const {
    size_t size = 0;
    check(context_.api().GetPipelineCacheData(context_.device(), cache_, &size, nullptr),
          "vkGetPipelineCacheData");
    std::string bytes(size, '\0');
    check(context_.api().GetPipelineCacheData(context_.device(), cache_, &size, bytes.data()),
          "vkGetPipelineCacheData");
    bytes.resize(size);
    return bytes;
}

void PipelineCache::save() const {
    if (path_.empty()) return;
    const std::string now = data();
    if (now != loaded_) platform::writeCacheFile(path_, now);
}

}  // namespace pconv::vulkan
