#include "platform/dynamic_library.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#if defined(__APPLE__)
#include <mach-o/dyld.h>
#else
#include <filesystem>
#endif
#endif

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

std::string ownFolder() {
    HMODULE self = nullptr;
    const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
    char path[MAX_PATH];
    if (!GetModuleHandleExA(flags, reinterpret_cast<LPCSTR>(&ownFolder), &self)) return {};
    const DWORD length = GetModuleFileNameA(self, path, MAX_PATH);
    return length == 0 || length == MAX_PATH ? std::string() : folderOf(std::string(path, length));
}

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

std::string ownFolder() {
    Dl_info info{};
    if (dladdr(reinterpret_cast<const void*>(&ownFolder), &info) == 0 || info.dli_fname == nullptr) return {};
    return folderOf(info.dli_fname);
}

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

}  // namespace pconv::platform
