// Relaxation in the holes of one level of the pyramid: every hole pixel moves to a weighted mean of its eight
// neighbours, with weights that let colour flow along edges and not across them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "inpaint/cells.h"
#include "inpaint/holes.h"
#include "platform/thread_pool.h"

namespace pconv::inpaint {

// A picture at half the resolution read at the resolution of the full one: its pixels lie on the even pixels
// of the full one, in between is bilinear, and the last row and column go on.
struct HalfSample {
    int64_t near, far;  // rows or columns of the half picture, to be averaged
};
inline HalfSample halfSample(int64_t at, int64_t half_size) {
    const int64_t near = at / 2;
    return {near, at % 2 == 0 || near + 1 >= half_size ? near : near + 1};
}

// How colour flows at a point: [[x, xy], [xy, y]], in full along an edge, hardly at all across it.
struct Diffusion {
    float x, xy, y;
};

// Of one block of a level. It is used for one block after another, and keeps its memory.
class Relaxation {
  public:
    // Work on the hole pixels of `picture`, which has as many rows and columns as `holes`. `tensor` is the
    // smoothed structure tensor at half the resolution, `known` may be without pixels.
    void begin(ThreadPool& pool, const Holes& holes, const Plane4& picture, const Plane4& tensor,
               const PartlyKnown& known);

    // One sweep over the hole pixels. Sweeps after the first carry on in the direction of the one before, and
    // so get as far as several times as many.
    void sweep();

  private:
    class DiffusionRows;
    void weigh(size_t band, const Plane4& tensor);
    void relaxSpan(const Span& span, float step);
    void storeRow(size_t begin, size_t end);
    size_t rowEnd(size_t span, size_t band_end) const;
    void relaxBand(size_t band, float step);
    void storeBandEdges(size_t band);

    ThreadPool* pool_ = nullptr;
    const Holes* holes_ = nullptr;
    const PartlyKnown* known_ = nullptr;
    Plane4 picture_;
    std::vector<size_t> bands_;
    struct Rows {
        std::vector<Diffusion> values;
        std::vector<int64_t> done;  // which row of the picture each piece holds
    };
    std::vector<Rows> rows_;      // three a band
    std::vector<float> weights_;  // of the eight neighbours of each hole pixel; they sum to 1
    std::vector<float> other_;    // colours of the sweep before, or new ones that cannot be stored yet
    bool moving_ = false;
};

}  // namespace pconv::inpaint
