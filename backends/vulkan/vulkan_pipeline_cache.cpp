#include "vulkan_pipeline_cache.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

namespace pconv::vulkan {

namespace {

constexpr char kMagic[8] = {'p', 'c', 'o', 'n', 'v', 'v', 'k', '1'};
constexpr size_t kHeader = 24;  // magic, length, checksum
constexpr size_t kMaxFile = size_t{256} << 20;

uint64_t checksum(const uint8_t* data, size_t size) {
    uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 0x100000001b3;
    return hash;
}

void putNumber(std::vector<uint8_t>& bytes, uint64_t value) {
    for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

uint64_t number(const uint8_t* bytes) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; --i) value = value << 8 | bytes[i];
    return value;
}

std::string hex(const uint8_t* bytes, size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) {
        text += "0123456789abcdef"[bytes[i] >> 4];
        text += "0123456789abcdef"[bytes[i] & 15];
    }
    return text;
}

std::string environment(const char* name) {
    const char* text = std::getenv(name);
    return text != nullptr ? text : "";
}

std::vector<uint8_t> readFile(const std::string& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error || size > kMaxFile) return {};
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

std::string cacheFolder() {
    if (const std::string chosen = environment("PCONV_CACHE_DIR"); !chosen.empty()) return chosen;
#if defined(_WIN32)
    const std::string base = environment("LOCALAPPDATA");
    return base.empty() ? "" : base + "\\pconv\\cache";
#elif defined(__APPLE__)
    const std::string home = environment("HOME");
    return home.empty() ? "" : home + "/Library/Caches/pconv";
#else
    const std::string base = environment("XDG_CACHE_HOME");
    if (!base.empty() && base.front() == '/') return base + "/pconv";
    const std::string home = environment("HOME");
    return home.empty() ? "" : home + "/.cache/pconv";
#endif
}

std::vector<uint8_t> wrapCache(const std::vector<uint8_t>& data) {
    std::vector<uint8_t> file(kMagic, kMagic + sizeof kMagic);
    putNumber(file, data.size());
    putNumber(file, checksum(data.data(), data.size()));
    file.insert(file.end(), data.begin(), data.end());
    return file;
}

std::vector<uint8_t> unwrapCache(const std::vector<uint8_t>& file) {
    if (file.size() < kHeader || std::memcmp(file.data(), kMagic, sizeof kMagic) != 0) return {};
    if (number(file.data() + 8) != file.size() - kHeader) return {};
    if (number(file.data() + 16) != checksum(file.data() + kHeader, file.size() - kHeader)) return {};
    return {file.begin() + kHeader, file.end()};
}

PipelineCache::PipelineCache(Context& context) : context_(context) {
    const Capabilities& capabilities = context.capabilities();
    const std::string folder = cacheFolder();
    if (!folder.empty())
        path_ = (std::filesystem::path(folder) /
                 ("vulkan-" + hex(capabilities.info.uuid.data(), VK_UUID_SIZE) + "-" +
                  hex(capabilities.driver_uuid, VK_UUID_SIZE) + "-" +
                  hex(capabilities.properties.pipelineCacheUUID, VK_UUID_SIZE) + ".bin"))
                    .string();
    if (!path_.empty()) loaded_ = unwrapCache(readFile(path_));
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

// The header that Vulkan prescribes: 32 bytes, version one, then vendor, device and UUID of this very driver.
bool PipelineCache::fitsDevice(const std::vector<uint8_t>& data) const {
    VkPipelineCacheHeaderVersionOne header;
    if (data.size() < sizeof header) return false;
    std::memcpy(&header, data.data(), sizeof header);
    const VkPhysicalDeviceProperties& properties = context_.capabilities().properties;
    return header.headerSize >= sizeof header &&
           header.headerVersion == VK_PIPELINE_CACHE_HEADER_VERSION_ONE &&
           header.vendorID == properties.vendorID && header.deviceID == properties.deviceID &&
           std::memcmp(header.pipelineCacheUUID, properties.pipelineCacheUUID, VK_UUID_SIZE) == 0;
}

std::vector<uint8_t> PipelineCache::data() const {
    size_t size = 0;
    check(context_.api().GetPipelineCacheData(context_.device(), cache_, &size, nullptr),
          "vkGetPipelineCacheData");
    std::vector<uint8_t> bytes(size);
    check(context_.api().GetPipelineCacheData(context_.device(), cache_, &size, bytes.data()),
          "vkGetPipelineCacheData");
    bytes.resize(size);
    return bytes;
}

// Written beside and renamed, so that no process ever finds half a file.
void PipelineCache::save() const {
    if (path_.empty()) return;
    const std::vector<uint8_t> now = data();
    if (now == loaded_) return;
    const std::filesystem::path path(path_);
    std::filesystem::create_directories(path.parent_path());
    const std::string temporary = path_ + "." + std::to_string(std::random_device{}()) + ".tmp";
    const std::vector<uint8_t> bytes = wrapCache(now);
    std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.close();
    std::error_code error;
    if (file) std::filesystem::rename(temporary, path, error);
    if (!file || error) std::filesystem::remove(temporary, error);
}

}  // namespace pconv::vulkan
