// The pyramid of the inpainting method: partial convolutions down, bilinear and relaxation up. Of each level
// only those cells exist that the holes ask for, so that the work lies where the holes are, and its results
// are those of the whole picture to the bit.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "inpaint/blocks.h"
#include "inpaint/cells.h"
#include "inpaint/device.h"
#include "inpaint/holes.h"
#include "inpaint/relax.h"
#include "platform/thread_pool.h"

namespace pconv::inpaint {

// The picture that is filled. Called from several threads.
class Source {
  public:
    virtual ~Source() = default;
    // What lies at `top`, `left` and below: colours times a weight of 0 to 1, how well they are known, and
    // the weight; all 0 in holes and beyond the picture.
    virtual void load(int64_t top, int64_t left, const Plane4& out) const = 0;
    // Takes the colours of a run of hole pixels, the first of which is `first` of all.
    virtual void store(size_t first, int64_t y, int64_t x, int64_t count, const float* colours) = 0;
};

using ProgressFunction = std::function<void(double done)>;  // throws to cancel

// Keeps its operators and its memory from one picture to the next.
class Pyramid {
  public:
    Pyramid(PconvDevice device, int threads);

    ThreadPool& pool() { return pool_; }
    // The holes of the picture to fill, and where pixels are known in part, how well each hole pixel is.
    Holes& holes() { return levels_.front()->holes; }
    std::vector<float>& weights() { return levels_.front()->weights; }

    // Fills the holes of a picture with at least one known pixel and one hole.
    void fill(Source& source, int channels, const ProgressFunction* progress);

  private:
    struct Level {
        Holes holes;
        std::vector<float> weights;
        PartlyKnown known;
        Cells colours, tensors;
        // A byte for each kUnit x kUnit pixels: whether tensors and colours there are needed.
        std::vector<uint8_t> tensor_need, need;
        int64_t unit_rows = 0, unit_columns = 0;
        explicit Level(CellStore& store) : colours(store), tensors(store) {}
        int64_t height() const { return holes.height(); }
        int64_t width() const { return holes.width(); }
    };
    struct CellIndex {
        int64_t row, column;
    };
    struct Scratch {  // of a thread
        std::vector<float> plane, tensor;
        Holes holes;
        PartlyKnown known;
        Relaxation relaxation;
    };

    void reduce();
    void findNeeds();
    void markUnits(Level& level, int64_t top, int64_t bottom, int64_t left, int64_t right);
    void widen(Level& level);
    void listCells(const std::vector<uint8_t>& need, const Level& level, int64_t units);
    void descend();
    void descendCell(size_t level, CellIndex cell, int which);
    void fillTop();
    void learnOwn(size_t level);
    void gather(size_t level, int64_t top, int64_t left, const Plane4& out) const;
    void interpolate(size_t level, int64_t y, int64_t begin, int64_t end, size_t first, float* out) const;
    void describe(size_t level);
    void rawTensors(size_t level, CellIndex cell, const Plane4& colours, int which) const;
    void relax(size_t level);
    void relaxSmall(size_t level, size_t large, double share);
    void relaxBlock(size_t level, const Block& block, Scratch& scratch, ThreadPool& pool, bool reports);
    void progress(double done) const;
    bool isTop(size_t level) const { return level + 1 == count_; }

    PconvDevice device_;
    ThreadPool pool_, alone_{1};
    Blur reduce_, shrink_, smooth_, smooth_again_;
    SharedArray fine_, coarse_, raw_, shrunk_, smoothed_, steady_;
    std::vector<float> patch_;  // a tile with its neighbours
    CellStore store_;
    std::vector<std::unique_ptr<Level>> levels_;
    size_t count_ = 0;  // of levels in use
    std::vector<CellIndex> cells_;
    std::vector<uint8_t> widened_;
    std::vector<float> row_;
    Blocks blocks_;
    std::vector<Scratch> scratch_;
    Source* source_ = nullptr;
    int channels_ = 0;
    const ProgressFunction* progress_ = nullptr;
    double share_ = 0.0, done_ = 0.0;
};

}  // namespace pconv::inpaint
