// Opening shared libraries at run time, and finding where this one lies.
#pragma once

#include <string>
#include <vector>

namespace pconv::platform {

class DynamicLibrary {
  public:
    DynamicLibrary() = default;
    DynamicLibrary(const DynamicLibrary&) = delete;
    DynamicLibrary& operator=(const DynamicLibrary&) = delete;
    ~DynamicLibrary();
    // False with the loader's own words in `reason`. A path with a folder is taken as it is; a bare name is
    // searched.
    bool open(const std::string& path, std::string& reason);
    void* symbol(const char* name) const;
    // Leaves the library loaded for the rest of the process: its code may be needed after static destruction
    // has begun.
    void keepLoaded() { handle_ = nullptr; }

  private:
    void* handle_ = nullptr;
};

// "libNAME.so", "NAME.dll", "libNAME.dylib".
std::string libraryFileName(const std::string& name);

// The folders, with a trailing separator, of the library or program that holds this code: where its file
// lies, then that of the link it was opened by, if that is another; none if unknown. They are looked up when
// it is loaded, for a relative path is worth nothing once the working folder has changed.
const std::vector<std::string>& ownFolders();

// The folder, with a trailing separator, of the running program; "" if unknown.
std::string executableFolder();

}  // namespace pconv::platform
