#pragma once

#include <csetjmp>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <type_traits>

#include "files/file_error.h"

namespace pconv::app {

/// The one way into libraries that report faults by never returning from a callback (libpng, libjpeg). Their
/// handles are private members of classes that hand them out within run() alone, so that a call cannot be put
/// outside it.
class Guard {
  public:
    Guard() = default;
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    /// Runs `step`, which may hold nothing that needs destroying while it calls the library: it is left by
    /// longjmp. Throws FileError with the fault's text, or std::bad_alloc.
    template <typename Step>
    void run(Step step) {
        static_assert(std::is_trivially_destructible_v<Step>, "longjmp passes over destructors");
        inside_ = true;
        if (setjmp(frame_) != 0) raise();
        try {
            step();
        } catch (...) {
            inside_ = false;
            throw;
        }
        inside_ = false;
    }

    /// For the library's callbacks: ends the step that runs. A null fault stands for a lack of memory.
    [[noreturn]] void leave(const char* fault) noexcept {
        if (!inside_) std::terminate();  // no handle can be reached from there
        no_memory_ = fault == nullptr;
        std::strncpy(fault_, no_memory_ ? "" : fault, sizeof fault_ - 1);
        std::longjmp(frame_, 1);
    }

  private:
    [[noreturn]] void raise() {
        inside_ = false;
        if (no_memory_) throw std::bad_alloc();
        throw FileError(fault_);
    }

    std::jmp_buf frame_;
    bool inside_ = false;
    bool no_memory_ = false;
    char fault_[200] = "";
};

}  // namespace pconv::app
