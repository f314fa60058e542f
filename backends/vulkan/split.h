// Cuts a box of work until every piece fits what the device takes at once. Knows no Vulkan.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "vulkan/plan.h"

namespace pconv::vulkan {

struct Range {
    int64_t begin = 0, end = 0;
    int64_t size() const { return end - begin; }
};

using Piece = std::array<Range, 5>;

// What a piece takes of the device's limits.
class Fit {
  public:
    explicit Fit(const PlanLimits& limits) : limits_(limits) {}
    void bytes(const Span& span) {
        const int64_t size = span.size() + 2 * limits_.alignment;
        add(size, limits_.max_range);
        binds_ = binds_ && size <= limits_.max_range;
    }
    void grid(size_t dimension, int64_t groups) {
        add(groups, limits_.max_groups.at(dimension));
        binds_ = binds_ && groups <= limits_.max_groups.at(dimension);
    }
    void work(int64_t multiplications) { add(multiplications, static_cast<int64_t>(limits_.max_work)); }
    // How far beyond, 0 where it fits.
    double excess() const { return excess_; }
    // Whether all but the work does: a dispatch may take longer than wanted.
    bool binds() const { return binds_; }
    int64_t range() const { return limits_.max_range; }

  private:
    void add(int64_t value, int64_t limit) {
        if (value > limit) excess_ += static_cast<double>(value) / static_cast<double>(limit) - 0.5;
    }
    const PlanLimits& limits_;
    double excess_ = 0;
    bool binds_ = true;
};

// The bytes that a box of a tensor spans.
Span spanOf(const Piece& box, const std::array<int64_t, 5>& strides, size_t element);

// The axis along which a view's elements lie beside each other; 5 where there is none.
size_t denseAxis(const TensorRef& tensor, const std::array<int64_t, 5>& dims);

// The planes and rows in which rows of D * H lie.
struct RowBox {
    Range d, h;
};
RowBox rowBox(const Range& rows, int64_t height);

// Into how many parts the terms of each of `sums` sums are cut, each a workgroup's: so many that a large GPU
// is busy with few sums too, and that each part has terms enough.
int64_t partsOfSum(int64_t terms, int64_t sums);

// Calls `emit`, where it is given, for pieces of `whole`, halved until they fit or no cut helps; of the
// dimensions the one that helps most, the earlier where they are alike. Throws Error unsupported before any
// of it where a piece does not bind.
void splitPiece(const Piece& whole, const std::function<Fit(const Piece&)>& fit,
                const std::function<void(const Piece&)>& emit);

// Whether splitPiece would find pieces that all bind.
bool canSplit(const Piece& whole, const std::function<Fit(const Piece&)>& fit);

}  // namespace pconv::vulkan
