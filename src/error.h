// The one exception of the library: a status and a line of text. It never leaves the C boundary.
#pragma once

#include <stdexcept>
#include <string>

#include "pconv/pconv.h"

#if defined(_WIN32)
#define PCONV_VISIBLE_TYPE
#else
// Thrown in modules and caught in the core, so its type must be one type to both.
#define PCONV_VISIBLE_TYPE __attribute__((visibility("default")))
#endif

namespace pconv {

class PCONV_VISIBLE_TYPE Error : public std::runtime_error {
  public:
    Error(PconvStatus status, const std::string& line) : std::runtime_error(line), status_(status) {}
    PconvStatus status() const { return status_; }

  private:
    PconvStatus status_;
};

[[noreturn]] inline void fail(PconvStatus status, const std::string& line) {
    throw Error(status, line);
}

}  // namespace pconv
