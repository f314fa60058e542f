// The two operators of the inpainting method on a device, and arrays that host and device share.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/owned.h"
#include "inpaint/relax.h"

namespace pconv::inpaint {

// A buffer the host works in: directly where it can address the device's memory, else in a copy.
class SharedArray {
  public:
    SharedArray() = default;
    SharedArray(PconvDevice device, size_t bytes);

    void* host() const { return host_; }
    PconvBuffer buffer() const { return buffer_.get(); }
    // Makes what the host wrote visible to the device, and the reverse.
    void upload(size_t bytes) const;
    void download(size_t bytes) const;

  private:
    OwnedBuffer buffer_;
    std::unique_ptr<char[]> copy_;
    void* host_ = nullptr;
};

// A 5 x 5 binomial partial convolution of four lanes, each on its own, on pictures of one size.
class Blur {
  public:
    // Without a mask every pixel counts, and beyond the picture there is nothing.
    Blur(PconvDevice device, int64_t height, int64_t width, int stride, bool masked);

    // `valid`, a byte a pixel, is null where there is no mask. Lanes of invalid pixels are 0.
    void run(const SharedArray& input, const SharedArray& output, const SharedArray* valid);

    int64_t outputHeight() const { return output_[0]; }
    int64_t outputWidth() const { return output_[1]; }
    // Writes a byte a pixel: whether any valid pixel was in its window.
    void readUpdatedMask(void* valid) const;

  private:
    int64_t input_[2], output_[2];
    bool masked_;
    OwnedMaskUpdate update_;
    OwnedConv conv_;
    bool computed_ = false;
};

}  // namespace pconv::inpaint
