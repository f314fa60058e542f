#include "platform/dynamic_library.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#if defined(__APPLE__)
#include <mach-o/dyld.h>
#endif
#endif

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace pconv::platform {

namespace {
std::string folderOf(const std::string& path) {
    const size_t slash = path.find_last_of("/\\");
    return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}
}  // namespace

#if defined(_WIN32)

DynamicLibrary::~DynamicLibrary() {
    if (handle_ != nullptr) FreeLibrary(static_cast<HMODULE>(handle_));
}

bool DynamicLibrary::open(const std::string& path, std::string& reason) {
    handle_ = LoadLibraryA(path.c_str());
    if (handle_ == nullptr) reason = path + ": error " + std::to_string(GetLastError());
    return handle_ != nullptr;
}

void* DynamicLibrary::symbol(const char* name) const {
    return reinterpret_cast<void*>(GetProcAddress(static_cast<HMODULE>(handle_), name));
}

std::string libraryFileName(const std::string& name) {
    return name + ".dll";
}

namespace {

std::string ownPath() {
    HMODULE self = nullptr;
    const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    char path[MAX_PATH];
    if (!GetModuleHandleExA(flags, reinterpret_cast<LPCSTR>(&ownFolders), &self)) return {};
    const DWORD length = GetModuleFileNameA(self, path, MAX_PATH);
    return length == 0 || length == MAX_PATH ? std::string() : std::string(path, length);
}

}  // namespace

std::string executableFolder() {
    char path[MAX_PATH];
    const DWORD length = GetModuleFileNameA(nullptr, path, MAX_PATH);
    return length == 0 || length == MAX_PATH ? std::string() : folderOf(std::string(path, length));
}

#else

DynamicLibrary::~DynamicLibrary() {
    if (handle_ != nullptr) dlclose(handle_);
}

bool DynamicLibrary::open(const std::string& path, std::string& reason) {
    handle_ = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle_ != nullptr) return true;
    const char* text = dlerror();
    reason = text != nullptr ? text : path + ": cannot be loaded";
    return false;
}

void* DynamicLibrary::symbol(const char* name) const {
    return dlsym(handle_, name);
}

std::string libraryFileName(const std::string& name) {
#if defined(__APPLE__)
    return "lib" + name + ".dylib";
#else
    return "lib" + name + ".so";
#endif
}

namespace {

std::string ownPath() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&ownFolders), &info) == 0 || info.dli_fname == nullptr)
        return {};
    return info.dli_fname;
}

}  // namespace

std::string executableFolder() {
#if defined(__APPLE__)
    char path[4096];
    uint32_t size = sizeof path;
    return _NSGetExecutablePath(path, &size) == 0 ? folderOf(path) : std::string();
#else
    std::error_code fault;
    const auto path = std::filesystem::read_symlink("/proc/self/exe", fault);
    return fault ? std::string() : folderOf(path.string());
#endif
}

#endif

namespace {

std::vector<std::string> findOwnFolders() {
    std::vector<std::string> folders;
    const std::string path = ownPath();
    if (path.empty()) return folders;
    std::error_code fault;
    const auto add = [&](const std::filesystem::path& found) {
        const std::string folder = folderOf(found.string());
        if (!fault && std::find(folders.begin(), folders.end(), folder) == folders.end())
            folders.push_back(folder);
    };
    add(std::filesystem::canonical(path, fault));
    add(std::filesystem::absolute(path, fault).lexically_normal());
    return folders;
}

[[maybe_unused]] const std::vector<std::string>& found_when_loaded = ownFolders();

}  // namespace

const std::vector<std::string>& ownFolders() {
    static const std::vector<std::string> folders = findOwnFolders();
    return folders;
}

}  // namespace pconv::platform
