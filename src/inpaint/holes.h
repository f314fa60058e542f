// The pixels of a picture that are to be filled, as runs in its rows, at each level of the pyramid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pconv::inpaint {

// A run of hole pixels in a row.
struct Span {
    int32_t y, begin, end;
    size_t first;  // which hole pixel of the level `begin` is
};

class Holes {
  public:
    // Empties it, for rows from the top down to be added to.
    void reset(int64_t height, int64_t width);
    // Adds a run to the current row, to the right of its others.
    void add(int64_t begin, int64_t end);
    void endRow();
    // Adds rows that were collected apart.
    void append(const Holes& rows);

    // The pixels whose window of 5 x 5 at every second pixel of `fine` is all hole, beyond the picture too.
    void reduce(const Holes& fine);

    int64_t height() const { return height_; }
    int64_t width() const { return width_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    bool isAll() const { return size_ == static_cast<size_t>(height_) * static_cast<size_t>(width_); }
    const std::vector<Span>& spans() const { return spans_; }
    // Spans [rowBegin(y), rowBegin(y + 1)) are those of row y.
    size_t rowBegin(int64_t y) const { return rows_[static_cast<size_t>(y)]; }
    // The first span of row y that ends beyond x.
    size_t find(int64_t y, int64_t x) const;
    // Cuts the spans into at most `count` ranges of about as many pixels each, never within a row; the
    // bounds, as indices of spans.
    void bands(int count, std::vector<size_t>& bounds) const;

  private:
    int64_t height_ = 0, width_ = 0;
    size_t size_ = 0;
    std::vector<Span> spans_;
    std::vector<size_t> rows_;
    struct Run {
        int64_t begin, end;
    };
    std::vector<Run> runs_, kept_;
};

// What is known of the pixels of Holes: what each is itself, and for how much that counts, 0 to 1.
struct PartlyKnown {
    std::vector<float> colours;  // four lanes a hole pixel
    std::vector<float> weights;  // empty where no pixel is known in part
    bool any() const { return !weights.empty(); }
};

// The weights at the next level, `coarse` being `fine` reduced: a pixel is known as well as the best known of
// its window, for many bad ones are no good one.
void reduceWeights(const Holes& fine, const std::vector<float>& fine_weights, const Holes& coarse,
                   std::vector<float>& weights, std::vector<float>& scratch);

}  // namespace pconv::inpaint
