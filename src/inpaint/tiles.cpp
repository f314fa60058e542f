#include "inpaint/tiles.h"

#include <algorithm>
#include <numeric>

namespace pconv::inpaint {

namespace {

constexpr size_t kNone = SIZE_MAX;

int64_t roundDown(int64_t value, int64_t multiple) {
    return value / multiple * multiple;
}

Range joined(const Range& a, const Range& b) {
    return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

Box joined(const Box& a, const Box& b) {
    return {joined(a.rows, b.rows), joined(a.columns, b.columns)};
}

bool isWithin(const Box& inner, const Box& outer) {
    const Box both = joined(inner, outer);
    return both.rows.size() == outer.rows.size() && both.columns.size() == outer.columns.size();
}

int64_t areaOf(const Box& box) {
    return box.rows.size() * box.columns.size();
}

}  // namespace

std::vector<Range> tilesAround(const Range& wanted, int64_t length, const TileSize& tile) {
    if (length <= tile.side) return {{0, length}};
    const int64_t last = roundUp(length - tile.side, tile.multiple);  // where a tile begins at the latest
    const auto tileFrom = [&](int64_t begin) { return Range{begin, std::min(begin + tile.side, length)}; };
    const int64_t beside = tile.side / 8;
    const int64_t from = std::max<int64_t>(wanted.begin - beside, 0);
    const int64_t to = std::min(wanted.end + beside, length);
    const int64_t centred = std::max<int64_t>((wanted.begin + wanted.end - tile.side + tile.multiple) / 2, 0);
    const int64_t single = std::min(roundDown(centred, tile.multiple), last);
    if (single <= from && tileFrom(single).end >= to) return {tileFrom(single)};
    const int64_t step = roundDown(tile.side - tile.side / 4, tile.multiple);
    std::vector<Range> tiles;
    for (int64_t begin = std::min(roundDown(from, tile.multiple), last);; begin += step) {
        tiles.push_back(tileFrom(std::min(begin, last)));
        if (tiles.back().end >= to) return tiles;
    }
}

float shareAt(const std::vector<Range>& tiles, size_t index, int64_t at) {
    const Range& tile = tiles[index];
    float share = 1;
    const auto ramp = [&](int64_t distance, int64_t overlap) {
        share = std::min(share, (static_cast<float>(distance) + 0.5F) / static_cast<float>(overlap));
    };
    if (index > 0) ramp(at - tile.begin, tiles[index - 1].end - tile.begin);
    if (index + 1 < tiles.size()) ramp(tile.end - 1 - at, tile.end - tiles[index + 1].begin);
    return share;
}

HoleGroups::HoleGroups(int64_t height, int64_t width)
    : height_(height),
      width_(width),
      rows_(static_cast<size_t>((height + kCell - 1) / kCell)),
      columns_(static_cast<size_t>((width + kCell - 1) / kCell)),
      cells_(rows_ * columns_, Box{{height, 0}, {width, 0}}) {}

void HoleGroups::add(int64_t y, int64_t x) {
    Box& cell = cells_[cellOf(y, x)];
    cell = joined(cell, Box{{y, y + 1}, {x, x + 1}});
}

// The box around all that touches a cell, which becomes of this part.
Box HoleGroups::flood(size_t first, size_t part) {
    Box box = cells_[first];
    std::vector<size_t> waiting{first};
    group_of_[first] = part;
    while (!waiting.empty()) {
        const size_t cell = waiting.back();
        waiting.pop_back();
        box = joined(box, cells_[cell]);
        const size_t row = cell / columns_;
        const size_t column = cell % columns_;
        for (size_t i = row == 0 ? 0 : row - 1; i <= std::min(row + 1, rows_ - 1); ++i)
            for (size_t j = column == 0 ? 0 : column - 1; j <= std::min(column + 1, columns_ - 1); ++j) {
                const size_t beside = i * columns_ + j;
                if (cells_[beside].rows.size() <= 0 || group_of_[beside] != kNone) continue;
                group_of_[beside] = part;
                waiting.push_back(beside);
            }
    }
    return box;
}

void HoleGroups::find(const TileSize& tile) {
    group_of_.assign(cells_.size(), kNone);
    groups_.clear();
    std::vector<Box> parts;
    for (size_t cell = 0; cell < cells_.size(); ++cell)
        if (cells_[cell].rows.size() > 0 && group_of_[cell] == kNone)
            parts.push_back(flood(cell, parts.size()));
    join(parts, tile);
}

// The large ones first, which have room for others in what they need anyway.
void HoleGroups::join(const std::vector<Box>& parts, const TileSize& tile) {
    const auto tilesOf = [&](const Box& box) {
        return HoleGroup{box, tilesAround(box.rows, height_, tile), tilesAround(box.columns, width_, tile)};
    };
    std::vector<size_t> order(parts.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return areaOf(parts[a]) > areaOf(parts[b]); });
    std::vector<size_t> group_of_part(parts.size());
    for (const size_t part : order) {
        size_t group = 0;
        for (; group < groups_.size(); ++group) {
            const Box& box = groups_[group].holes;
            if (isWithin(parts[part], box)) break;
            if (groups_[group].rows.size() * groups_[group].columns.size() > 1) continue;
            HoleGroup both = tilesOf(joined(box, parts[part]));
            if (both.rows.size() * both.columns.size() > 1) continue;
            groups_[group] = std::move(both);
            break;
        }
        if (group == groups_.size()) groups_.push_back(tilesOf(parts[part]));
        group_of_part[part] = group;
    }
    for (size_t& of : group_of_)
        if (of != kNone) of = group_of_part[of];
}

}  // namespace pconv::inpaint
