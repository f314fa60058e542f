// Memory that the operators of a device use one after another, for one runs at a time: as much as the one
// that needs most.
#pragma once

#include <memory>

#include "backend.h"

namespace pconv::cpu {

class CpuDevice;

// Of all memory that a device allocates, and of the parts that an operator cuts it into.
inline constexpr size_t kAlignment = 64;

inline size_t alignedSize(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

class SharedScratch {
  public:
    explicit SharedScratch(CpuDevice& device) : device_(device) {}
    void enter(size_t bytes);
    void leave() noexcept;
    char* begin() const { return static_cast<char*>(buffer_->hostPointer()); }

  private:
    CpuDevice& device_;
    std::shared_ptr<Buffer> buffer_;
    size_t users_ = 0;
};

// An operator's use of it, at kAlignment. It moves when an operator is made that needs more.
class Scratch {
  public:
    Scratch() = default;
    Scratch(CpuDevice& device, size_t bytes);
    Scratch(Scratch&& other) noexcept = default;
    Scratch& operator=(Scratch&& other) noexcept;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch();
    char* begin() const { return shared_->begin(); }

  private:
    std::shared_ptr<SharedScratch> shared_;
};

}  // namespace pconv::cpu
