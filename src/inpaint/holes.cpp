#include "inpaint/holes.h"

#include <algorithm>

namespace pconv::inpaint {

void Holes::reset(int64_t height, int64_t width) {
    height_ = height;
    width_ = width;
    size_ = 0;
    spans_.clear();
    rows_.clear();
    rows_.push_back(0);
}

void Holes::add(int64_t begin, int64_t end) {
    const auto y = static_cast<int32_t>(rows_.size() - 1);
    spans_.push_back({y, static_cast<int32_t>(begin), static_cast<int32_t>(end), size_});
    size_ += static_cast<size_t>(end - begin);
}

void Holes::endRow() {
    rows_.push_back(spans_.size());
}

void Holes::append(const Holes& rows) {
    for (size_t y = 0; y + 1 < rows.rows_.size(); ++y) {
        for (size_t i = rows.rows_[y]; i < rows.rows_[y + 1]; ++i)
            add(rows.spans_[i].begin, rows.spans_[i].end);
        endRow();
    }
}

void Holes::reduce(const Holes& fine) {
    reset((fine.height_ + 1) / 2, (fine.width_ + 1) / 2);
    for (int64_t y = 0; y < height_; ++y, endRow()) {
        runs_.assign(1, {0, width_});
        const int64_t last = std::min(2 * y + 2, fine.height_ - 1);
        for (int64_t row = std::max<int64_t>(2 * y - 2, 0); row <= last && !runs_.empty(); ++row) {
            kept_.clear();
            size_t at = fine.rowBegin(row);
            const size_t end = fine.rowBegin(row + 1);
            for (const Run& run : runs_)
                for (size_t i = at; i < end; ++i) {
                    const Span& span = fine.spans_[i];
                    // Windows of pixels begin to end - 1 lie within the span.
                    const int64_t first = span.begin == 0 ? 0 : (span.begin + 3) / 2;
                    const int64_t stop = span.end == fine.width_ ? width_ : (span.end - 1) / 2;
                    if (stop <= run.begin) {
                        at = i + 1;
                        continue;
                    }
                    if (first >= run.end) break;
                    const int64_t from = std::max(first, run.begin);
                    const int64_t to = std::min(stop, run.end);
                    if (from < to) kept_.push_back({from, to});
                }
            runs_.swap(kept_);
        }
        for (const Run& run : runs_) add(run.begin, run.end);
    }
}

size_t Holes::find(int64_t y, int64_t x) const {
    const auto begin = spans_.begin() + static_cast<std::ptrdiff_t>(rowBegin(y));
    const auto end = spans_.begin() + static_cast<std::ptrdiff_t>(rowBegin(y + 1));
    return static_cast<size_t>(
        std::partition_point(begin, end, [x](const Span& span) { return span.end <= x; }) - spans_.begin());
}

void Holes::bands(int count, std::vector<size_t>& bounds) const {
    bounds.assign(1, 0);
    for (int i = 1; i < count; ++i) {
        const size_t target = size_ * static_cast<size_t>(i) / static_cast<size_t>(count);
        size_t at = bounds.back();
        while (at < spans_.size() && spans_[at].first < target) ++at;
        while (at > bounds.back() && at < spans_.size() && spans_[at].y == spans_[at - 1].y) ++at;
        if (at > bounds.back() && at < spans_.size()) bounds.push_back(at);
    }
    bounds.push_back(spans_.size());
}

void reduceWeights(const Holes& fine, const std::vector<float>& fine_weights, const Holes& coarse,
                   std::vector<float>& weights, std::vector<float>& scratch) {
    weights.resize(coarse.size());
    const auto width = static_cast<size_t>(fine.width());
    for (int64_t y = 0; y < coarse.height(); ++y) {
        const size_t begin = coarse.rowBegin(y);
        const size_t end = coarse.rowBegin(y + 1);
        if (begin == end) continue;
        // The best of five rows at each column; all of what windows see is hole.
        scratch.assign(width, 0.0F);
        const int64_t last = std::min(2 * y + 2, fine.height() - 1);
        for (int64_t row = std::max<int64_t>(2 * y - 2, 0); row <= last; ++row)
            for (size_t i = fine.rowBegin(row); i < fine.rowBegin(row + 1); ++i) {
                const Span& span = fine.spans()[i];
                for (int64_t x = span.begin; x < span.end; ++x) {
                    float& best = scratch[static_cast<size_t>(x)];
                    best = std::max(best, fine_weights[span.first + static_cast<size_t>(x - span.begin)]);
                }
            }
        for (size_t i = begin; i < end; ++i) {
            const Span& span = coarse.spans()[i];
            for (int64_t x = span.begin; x < span.end; ++x) {
                const auto from = static_cast<size_t>(std::max<int64_t>(2 * x - 2, 0));
                const auto to = std::min(static_cast<size_t>(2 * x + 3), width);
                weights[span.first + static_cast<size_t>(x - span.begin)] =
                    *std::max_element(scratch.begin() + static_cast<std::ptrdiff_t>(from),
                                      scratch.begin() + static_cast<std::ptrdiff_t>(to));
            }
        }
    }
}

}  // namespace pconv::inpaint
