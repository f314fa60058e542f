#pragma once

#include <cstdio>
#include <filesystem>
#include <system_error>

namespace pconv::platform {

/// Opens a file that was not there before for writing; null with `error` set where that fails, such as
/// std::errc::file_exists. It may be removed while it is open.
std::FILE* createFile(const std::filesystem::path& path, std::error_code& error);

}  // namespace pconv::platform
