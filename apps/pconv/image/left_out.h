#pragma once

#include <algorithm>
#include <string>

#include "image/image.h"

namespace pconv::app {

/// What of a file's metadata is not taken over, since it shows or may show the picture as it was, or is not
/// true of the filled one.
class LeftOut {
  public:
    void add(const std::string& what) {
        if (std::find(names_.begin(), names_.end(), what) == names_.end()) names_.push_back(what);
    }

    /// Adds one line that lists all of it.
    void appendTo(Notes& notes) const {
        if (names_.empty()) return;
        std::string line = "left out, since it may show the picture as it was: ";
        for (const std::string& name : names_) line += (&name == names_.data() ? "" : ", ") + name;
        notes.push_back(line);
    }

  private:
    std::vector<std::string> names_;
};

/// Whether bytes begin or contain what pictures in files begin with, plain or written as base64 or
/// hexadecimal digits.
bool mayHoldPicture(const std::uint8_t* data, std::size_t size);

}  // namespace pconv::app
