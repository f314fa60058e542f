// What is relaxed at a time: all holes of a neighbourhood, or where they reach far, rectangles of them.
#pragma once

#include <cstdint>
#include <vector>

#include "inpaint/holes.h"

namespace pconv::inpaint {

struct Block {
    int64_t top, bottom, left, right;  // the pixels whose results are its own
    int32_t group;                     // of holes that touch; others do not matter to it
    bool whole;                        // it has all of its group
    size_t holes;                      // about how many hole pixels
};

class Blocks {
  public:
    void find(const Holes& holes);
    const std::vector<Block>& all() const { return blocks_; }
    int32_t groupOf(const Span& span) const {
        return units_[static_cast<size_t>(span.y / kUnit * columns_ + span.begin / kUnit)];
    }

  private:
    static constexpr int64_t kUnit = 32;
    void flood(int64_t row, int64_t column, int32_t group);
    void split(const Holes& holes, const Block& group);

    int64_t rows_ = 0, columns_ = 0;
    std::vector<int32_t> units_;  // the group of the holes there; 0 where there are none
    std::vector<int64_t> stack_;
    std::vector<Block> groups_, blocks_;
    std::vector<size_t> counts_;
};

}  // namespace pconv::inpaint
