// Files that only save time: what is damaged is as good as absent, and failing to write one is no error.
#pragma once

#include <string>

namespace pconv::platform {

// The user's folder for caches of this library: PCONV_CACHE_DIR, else the platform's; "" where there is none.
std::string cacheFolder();

// The content that writeCacheFile was given; "" where the file is absent or not whole.
std::string readCacheFile(const std::string& path);
// Writes beside and renames, so that no process ever finds half a file.
bool writeCacheFile(const std::string& path, const std::string& content) noexcept;

// 16 digits, for names of files.
std::string hexChecksum(const std::string& text);

}  // namespace pconv::platform
