#include "platform/cache_file.h"

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

namespace pconv::platform {

namespace {

// The first line of a file: this, the content's checksum and its length.
constexpr char kMagic[] = "pconv-cache-1 ";
constexpr uintmax_t kMaxFile = uintmax_t{256} << 20;

std::string environment(const char* name) {
    const char* text = std::getenv(name);
    return text != nullptr ? text : "";
}

std::string header(const std::string& content) {
    return kMagic + hexChecksum(content) + " " + std::to_string(content.size()) + "\n";
}

}  // namespace

std::string cacheFolder() {
    if (std::string chosen = environment("PCONV_CACHE_DIR"); !chosen.empty()) return chosen;
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

std::string hexChecksum(const std::string& text) {
    uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    std::string digits(16, '0');
    for (size_t i = digits.size(); i-- > 0; hash >>= 4) digits[i] = "0123456789abcdef"[hash & 15];
    return digits;
}

std::string readCacheFile(const std::string& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error || size > kMaxFile) return {};
    std::ifstream file(path, std::ios::binary);
    const std::string all{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const size_t line = all.find('\n');
    if (line == std::string::npos) return {};
    std::string content = all.substr(line + 1);
    return all.compare(0, line + 1, header(content)) == 0 ? content : std::string();
}

bool writeCacheFile(const std::string& path, const std::string& content) noexcept {
    std::error_code error;
    try {
        std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
        const std::string temporary = path + "." + std::to_string(std::random_device{}()) + ".tmp";
        std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
        file << header(content) << content;
        file.close();
        bool written = static_cast<bool>(file);
        if (written) std::filesystem::rename(temporary, path, error);
        written = written && !error;
        if (!written) std::filesystem::remove(temporary, error);
        return written;
    } catch (const std::exception&) {
        return false;
    }
}

}  // namespace pconv::platform
