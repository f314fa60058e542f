#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>

namespace pconv {

/// A file that appears under its name only when it is whole: written beside it, renamed by commit().
/// Without commit() nothing is left and an older file of that name is untouched. Every fault is a WriteError.
/// A symbolic link is followed; a device or pipe (such as /dev/null) is written straight.
class AtomicFile {
  public:
    /// Told the name of the temporary just before it comes into being, and nullptr once it is gone.
    using TemporaryHook = void (*)(const char* path);

    explicit AtomicFile(const std::filesystem::path& path, TemporaryHook hook = nullptr);
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* data, std::size_t size);
    void commit();

  private:
    [[noreturn]] void fail(const std::string& why) const;
    void openTemporary();
    void discard() noexcept;

    std::filesystem::path path_;
    std::filesystem::path target_;
    std::filesystem::path temporary_;
    std::string temporary_name_;
    TemporaryHook hook_ = nullptr;
    std::FILE* file_ = nullptr;
};

}  // namespace pconv
