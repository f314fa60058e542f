// Which device the calling thread works on.
#pragma once

#include <cuda.h>

#include <new>

namespace pconv::cuda {

// Makes a device's primary context current as long as it lives: pushed on the thread's stack of contexts, and
// popped again. The host's current device and a context of its own stay as they are, and no other device gets
// a context, as setting the current device of the runtime back would give it one (half a gigabyte on device
// 0).
class CurrentDevice {
  public:
    explicit CurrentDevice(int index);
    // For what must not throw: where the device cannot be made current, `made` is false.
    CurrentDevice(int index, std::nothrow_t) noexcept;
    CurrentDevice(const CurrentDevice&) = delete;
    CurrentDevice& operator=(const CurrentDevice&) = delete;
    ~CurrentDevice();
    bool made() const { return made_; }

  private:
    bool pushed_ = false;
    bool made_ = false;
};

}  // namespace pconv::cuda
