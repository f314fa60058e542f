#include "inpaint/blocks.h"

#include <algorithm>

namespace pconv::inpaint {

namespace {

constexpr int64_t kWhole = int64_t{512} * 512;  // a neighbourhood of so many pixels is not split
// Parts of larger ones: their margins are worked on twice, and of thin holes much is not hole.
constexpr int64_t kDensePart = 480, kThinPart = 128;
constexpr int64_t kDense = 5;  // a hole pixel in so many

}  // namespace

void Blocks::flood(int64_t row, int64_t column, int32_t group) {
    stack_.push_back(row * columns_ + column);
    units_[static_cast<size_t>(stack_.back())] = group;
    while (!stack_.empty()) {
        const int64_t at = stack_.back();
        stack_.pop_back();
        const int64_t r = at / columns_;
        const int64_t c = at % columns_;
        for (int64_t y = std::max<int64_t>(r - 1, 0); y <= std::min(r + 1, rows_ - 1); ++y)
            for (int64_t x = std::max<int64_t>(c - 1, 0); x <= std::min(c + 1, columns_ - 1); ++x) {
                int32_t& unit = units_[static_cast<size_t>(y * columns_ + x)];
                if (unit >= 0) continue;
                unit = group;
                stack_.push_back(y * columns_ + x);
            }
    }
}

void Blocks::find(const Holes& holes) {
    rows_ = (holes.height() + kUnit - 1) / kUnit;
    columns_ = (holes.width() + kUnit - 1) / kUnit;
    units_.assign(static_cast<size_t>(rows_ * columns_), 0);
    for (const Span& span : holes.spans()) {
        int32_t* const row = &units_[static_cast<size_t>(span.y / kUnit * columns_)];
        std::fill(row + span.begin / kUnit, row + (span.end - 1) / kUnit + 1, -1);
    }
    int32_t groups = 0;
    for (int64_t row = 0; row < rows_; ++row)
        for (int64_t column = 0; column < columns_; ++column)
            if (units_[static_cast<size_t>(row * columns_ + column)] < 0) flood(row, column, ++groups);

    groups_.clear();
    for (int32_t i = 1; i <= groups; ++i) groups_.push_back({INT64_MAX, 0, INT64_MAX, 0, i, true, 0});
    for (const Span& span : holes.spans()) {
        Block& group = groups_[static_cast<size_t>(groupOf(span) - 1)];
        group.top = std::min<int64_t>(group.top, span.y);
        group.bottom = std::max<int64_t>(group.bottom, span.y + 1);
        group.left = std::min<int64_t>(group.left, span.begin);
        group.right = std::max<int64_t>(group.right, span.end);
        group.holes += static_cast<size_t>(span.end - span.begin);
    }
    blocks_.clear();
    for (const Block& group : groups_)
        if ((group.bottom - group.top) * (group.right - group.left) <= kWhole)
            blocks_.push_back(group);
        else
            split(holes, group);
}

void Blocks::split(const Holes& holes, const Block& group) {
    const int64_t area = (group.bottom - group.top) * (group.right - group.left);
    const int64_t part = static_cast<int64_t>(group.holes) * kDense >= area ? kDensePart : kThinPart;
    const int64_t rows = (group.bottom - group.top + part - 1) / part;
    const int64_t columns = (group.right - group.left + part - 1) / part;
    counts_.assign(static_cast<size_t>(rows * columns), 0);
    for (int64_t y = group.top; y < group.bottom; ++y)
        for (size_t i = holes.rowBegin(y); i < holes.rowBegin(y + 1); ++i) {
            const Span& span = holes.spans()[i];
            if (groupOf(span) != group.group) continue;
            for (int64_t x = span.begin; x < span.end;) {
                const int64_t column = (x - group.left) / part;
                const int64_t stop = std::min<int64_t>(group.left + (column + 1) * part, span.end);
                counts_[static_cast<size_t>((y - group.top) / part * columns + column)] +=
                    static_cast<size_t>(stop - x);
                x = stop;
            }
        }
    for (int64_t row = 0; row < rows; ++row)
        for (int64_t column = 0; column < columns; ++column) {
            const size_t count = counts_[static_cast<size_t>(row * columns + column)];
            if (count == 0) continue;
            const int64_t top = group.top + row * part;
            const int64_t left = group.left + column * part;
            blocks_.push_back({top, std::min(top + part, group.bottom), left,
                               std::min(left + part, group.right), group.group, false, count});
        }
}

}  // namespace pconv::inpaint
