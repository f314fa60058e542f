#pragma once

#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

namespace pconv {

/// A file that appears under its name only when it is whole: written beside it, renamed by commit().
/// Without commit() nothing is left and an older file of that name is untouched. Every fault is a WriteError.
/// A symbolic link is followed. An older file's owner, permissions (but for set-user-ID and set-group-ID),
/// access control list and extended attributes are kept. It is written in place, once all is there, where it
/// has other names (hard links), where its folder is not to be written to, and where its owner cannot be
/// kept. A device, a pipe and an open descriptor (/dev/stdout, /proc/self/fd/3) are written straight.
class AtomicFile {
  public:
    /// Told the name of the temporary just before it comes into being, and nullptr once it is gone.
    using TemporaryHook = void (*)(const char* path);

    explicit AtomicFile(const std::filesystem::path& path, TemporaryHook hook = nullptr);
    static AtomicFile onStandardOutput();
    ~AtomicFile();
    AtomicFile(const AtomicFile&) = delete;
    AtomicFile& operator=(const AtomicFile&) = delete;

    void write(const void* data, std::size_t size);
    void commit();
    /// Whether what is written goes to a terminal.
    bool isTerminal() const;

  private:
    struct StandardOutput {};
    explicit AtomicFile(StandardOutput which);
    [[noreturn]] void fail(const std::string& why) const;
    void openDescriptor(int descriptor);
    bool openTemporary(std::error_code& error);
    void removeTemporary() noexcept;
    void closeFile();
    void writeInPlace();
    void discard() noexcept;

    std::string name_;
    std::filesystem::path target_;
    std::filesystem::path temporary_;
    std::string temporary_name_;
    TemporaryHook hook_ = nullptr;
    std::FILE* file_ = nullptr;
    /// What is to be written in place is held until it is whole.
    bool in_place_ = false;
    std::vector<unsigned char> held_;
};

}  // namespace pconv
