#include "platform/new_file.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <fcntl.h>
#include <io.h>
#include <windows.h>

#include <cstdint>
#else
#include <cerrno>
#endif

namespace pconv::platform {

#if defined(_WIN32)

// fopen shares neither removing nor names beyond the code page.
std::FILE* createFile(const std::filesystem::path& path, std::error_code& error) {
    HANDLE handle = CreateFileW(path.c_str(), GENERIC_WRITE | DELETE, FILE_SHARE_READ | FILE_SHARE_DELETE,
                                nullptr, CREATE_NEW, FILE_ATTRIBUTE_NORMAL, nullptr);
    if (handle == INVALID_HANDLE_VALUE) {
        error.assign(static_cast<int>(GetLastError()), std::system_category());
        return nullptr;
    }
    const int descriptor = _open_osfhandle(reinterpret_cast<intptr_t>(handle), _O_WRONLY | _O_BINARY);
    std::FILE* file = descriptor >= 0 ? _fdopen(descriptor, "wb") : nullptr;
    if (file != nullptr) return file;
    error = std::make_error_code(std::errc::too_many_files_open);
    if (descriptor >= 0)
        _close(descriptor);
    else
        CloseHandle(handle);
    DeleteFileW(path.c_str());
    return nullptr;
}

#else

std::FILE* createFile(const std::filesystem::path& path, std::error_code& error) {
    std::FILE* file = std::fopen(path.c_str(), "wbx");
    if (file == nullptr) error.assign(errno, std::generic_category());
    return file;
}

#endif

}  // namespace pconv::platform
