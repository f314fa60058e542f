#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace pconv {

/// A file whose content, or whose reading or writing, is at fault. The message is one printable line.
class FileError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

/// A file that could not be written.
class WriteError : public FileError {
  public:
    using FileError::FileError;
};

/// `text` in single quotes, fit for a terminal: control characters escaped, the middle cut from what is long.
std::string inQuotes(std::string_view text);

}  // namespace pconv
