// Cuts a box of work until every piece fits what the device takes at once. Knows no Vulkan.
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "vulkan_plan.h"

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
    void bytes(const Span& span) { add(span.size() + 2 * limits_.alignment, limits_.max_range); }
    void grid(size_t dimension, int64_t groups) { add(groups, limits_.max_groups.at(dimension)); }
    void work(int64_t multiplications) { add(multiplications, static_cast<int64_t>(limits_.max_work)); }
    // How far beyond, 0 where it fits.
    double excess() const { return excess_; }

  private:
    void add(int64_t value, int64_t limit) {
        if (value > limit) excess_ += static_cast<double>(value) / static_cast<double>(limit) - 0.5;
    }
    const PlanLimits& limits_;
    double excess_ = 0;
};

// The bytes that a box of a tensor spans.
Span spanOf(const Piece& box, const std::array<int64_t, 5>& strides, size_t element);

// Calls `emit` for pieces of `whole`, halved until `excess` is 0 or nothing is left to halve; of the
// dimensions the one that helps most, the earlier where they are alike.
void splitPiece(const Piece& whole, const std::function<double(const Piece&)>& excess,
                const std::function<void(const Piece&)>& emit);

}  // namespace pconv::vulkan
