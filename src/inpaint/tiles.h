// Where a network is run in a picture that is larger than it takes at a time: tiles around the holes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pconv::inpaint {

inline int64_t roundUp(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

struct Range {
    int64_t begin = 0, end = 0;
    int64_t size() const { return end - begin; }
};

struct Box {
    Range rows, columns;
};

// Holes near each other, and the tiles that they are filled by: rows x columns of them, side by side with an
// overlap.
struct HoleGroup {
    Box holes;
    std::vector<Range> rows, columns;
};

struct TileSize {
    int64_t side;      // at most, of a tile
    int64_t multiple;  // where tiles begin, so that the network's own grid lies in them as in the whole
};

// The tiles of a line of `length` that cover `wanted` and, where the line has it, an eighth of a tile beside
// it: one where that is enough, else as many as overlap by a quarter or more.
std::vector<Range> tilesAround(const Range& wanted, int64_t length, const TileSize& tile);

// How much of a place the tile has: rising from its inner edges over what the next one has too.
float shareAt(const std::vector<Range>& tiles, size_t index, int64_t at);

class HoleGroups {
  public:
    HoleGroups(int64_t height, int64_t width);
    void add(int64_t y, int64_t x);  // a pixel of a hole
    // Once all are there. Holes that touch are one group, and so are those that one tile has room for.
    void find(const TileSize& tile);

    const std::vector<HoleGroup>& all() const { return groups_; }
    std::vector<HoleGroup>& all() { return groups_; }
    size_t groupOf(int64_t y, int64_t x) const { return group_of_[cellOf(y, x)]; }

  private:
    size_t cellOf(int64_t y, int64_t x) const {
        return static_cast<size_t>(y / kCell) * columns_ + static_cast<size_t>(x / kCell);
    }
    Box flood(size_t first, size_t part);
    void join(const std::vector<Box>& parts, const TileSize& tile);

    // Of two groups at least one cell between them is known: where a group's fill ends is never beside
    // another's.
    static constexpr int64_t kCell = 16;
    int64_t height_, width_;
    size_t rows_, columns_;         // of cells
    std::vector<Box> cells_;        // around the holes in each
    std::vector<size_t> group_of_;  // each cell's
    std::vector<HoleGroup> groups_;
};

}  // namespace pconv::inpaint
