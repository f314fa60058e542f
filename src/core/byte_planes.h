// The planes of a mask as backends take them: those of bits become bytes first.
#pragma once

#include "backend.h"

namespace pconv {

class BytePlanes {
  public:
    BytePlanes() = default;
    // Allocates for the form's segments of bits, if there are any. `size` is that of a plane.
    BytePlanes(Device& device, const MaskForm& form, const Dims3& size);
    // Enqueues, and puts bytes in the place of bits.
    void unpack(Device& device, std::vector<TensorRef>& planes) const;

  private:
    struct Segment {
        std::array<int64_t, 5> dims;
        TensorRef bytes;  // no buffer: the caller's planes are bytes
    };
    std::vector<Segment> segments_;
};

}  // namespace pconv
