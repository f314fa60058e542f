// The two operators of the inpainting method on a device, and arrays that host and device share.
#pragma once

#include <cstdint>
#include <memory>

#include "core/owned.h"
#include "inpaint/cells.h"

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

// How many tiles are convolved at a time. Their lanes lie next to each other, as the channels of one tile: as
// many as vector units are wide.
inline constexpr int64_t kTiles = 4;
inline constexpr int64_t kPacked = kTiles * kLanes;

// A 5 x 5 binomial partial convolution of square tiles without padding, each lane on its own.
class Blur {
  public:
    Blur(PconvDevice device, int64_t size, int stride);

    int64_t inputSize() const { return input_; }
    int64_t outputSize() const { return output_; }
    // kTiles tiles.
    void run(const SharedArray& input, const SharedArray& output);

  private:
    int64_t input_, output_;
    OwnedMaskUpdate update_;
    OwnedConv conv_;
};

// Writes one of the tiles, or a run of its pixels, from and to memory of its own.
void pack(const Plane4& from, const SharedArray& tiles, int which);
void unpack(const SharedArray& tiles, int64_t size, int which, int64_t y, int64_t x, int64_t count,
            float* out);

inline size_t tileBytes(int64_t size) {
    return static_cast<size_t>(size * size * kLanes) * sizeof(float);
}

}  // namespace pconv::inpaint
