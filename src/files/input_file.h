#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

namespace pconv {

/// What is read from its beginning to its end: a file, a pipe, a device, an open descriptor such as
/// /proc/self/fd/3, or the standard input. Every fault is a FileError whose line names it.
class InputFile {
  public:
    explicit InputFile(const std::filesystem::path& path);
    static InputFile onStandardInput();
    ~InputFile();
    InputFile(const InputFile&) = delete;
    InputFile& operator=(const InputFile&) = delete;

    /// For messages: in quotes, or "the standard input".
    const std::string& name() const { return name_; }
    /// Appends the next bytes, fewer than `count` only at the end.
    void append(std::vector<std::uint8_t>& bytes, std::size_t count);
    /// Appends all that is left. More than `most` bytes in all are a fault.
    void appendRest(std::vector<std::uint8_t>& bytes, std::size_t most);

  private:
    struct StandardInput {};
    explicit InputFile(StandardInput which);
    void openDescriptor(int descriptor);
    [[noreturn]] void fail(const std::string& why) const;

    std::string name_;
    std::FILE* file_ = nullptr;
    std::uint64_t size_ = 0;  ///< where it is known
};

}  // namespace pconv
