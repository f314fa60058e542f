// Relaxation in the holes of one level of the pyramid: every hole pixel moves to a weighted mean of its eight
// neighbours, with weights that let colour flow along edges and not across them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/thread_pool.h"

namespace pconv::inpaint {

// Four floats a pixel: three colours and a weight, or the three terms of a symmetric tensor and a weight.
inline constexpr int kLanes = 4;

// A picture of four lanes in someone else's memory, rows without gaps.
struct Plane4 {
    float* data = nullptr;
    int64_t height = 0;
    int64_t width = 0;
    float* row(int64_t y) const { return data + y * width * kLanes; }
};

// A picture at half the resolution read at the resolution of the full one: its pixels lie on the even pixels
// of the full one, in between is bilinear, and the last row and column go on.
struct HalfSample {
    int64_t near, far;  // rows or columns of the half picture, to be averaged
};
inline HalfSample halfSample(int64_t at, int64_t half_size) {
    const int64_t near = at / 2;
    return {near, at % 2 == 0 || near + 1 >= half_size ? near : near + 1};
}

// A run of hole pixels in a row.
struct Span {
    int64_t y, begin, end;
    size_t first;  // which hole pixel of the level `begin` is
};

class Holes {
  public:
    // `valid` has a byte a pixel, rows without gaps.
    Holes(const uint8_t* valid, int64_t height, int64_t width);

    size_t size() const { return size_; }
    const std::vector<Span>& spans() const { return spans_; }
    // The index of the first span in row y or below.
    size_t firstInRow(int64_t y) const;
    bool inRows(int64_t begin, int64_t end) const { return firstInRow(begin) < firstInRow(end); }
    // Cuts the spans into at most `count` ranges of about as many pixels each, never within a row; the
    // bounds, as indices of spans.
    std::vector<size_t> bands(int count) const;

  private:
    std::vector<Span> spans_;
    size_t size_ = 0;
};

// The pixels of Holes that are known in part: what each is itself, and for how much that counts, 0 to 1.
struct PartlyKnown {
    std::vector<float> colours;  // four lanes a hole pixel
    std::vector<float> weights;  // empty where no pixel is known in part
};

class Relaxation {
  public:
    // `tensor` is the smoothed structure tensor at half the resolution of the height x width level.
    Relaxation(ThreadPool& pool, const Holes& holes, int64_t height, int64_t width, const Plane4& tensor,
               const PartlyKnown& known);

    // One sweep over the hole pixels of `picture`. Sweeps after the first carry on in the direction of the
    // one before, and so get as far as several times as many.
    void sweep(const Plane4& picture);

  private:
    void weigh(size_t band, const Plane4& tensor);
    void relaxSpan(const Span& span, const Plane4& picture, float step);
    void storeRow(size_t begin, size_t end, const Plane4& picture);
    size_t rowEnd(size_t span, size_t band_end) const;
    void relaxBand(size_t band, const Plane4& picture, float step);
    void storeBandEdges(size_t band, const Plane4& picture);

    ThreadPool& pool_;
    const Holes& holes_;
    const PartlyKnown& known_;
    int64_t height_, width_;
    std::vector<size_t> bands_;
    std::vector<float> weights_;  // of the eight neighbours of each hole pixel; they sum to 1
    std::vector<float> other_;    // colours of the sweep before, or new ones that cannot be stored yet
    bool moving_ = false;
};

}  // namespace pconv::inpaint
