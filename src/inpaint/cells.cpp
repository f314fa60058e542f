#include "inpaint/cells.h"

#include <algorithm>
#include <cstring>

namespace pconv::inpaint {

const float Cells::kNothing[kLanes] = {};

float* CellStore::take() {
    if (free_.empty()) {
        // Room for all first, so that giving back cannot fail.
        free_.reserve(all_.size() + 1);
        all_.push_back(std::unique_ptr<float[]>(new float[kCell * kCell * kLanes]));
        return all_.back().get();
    }
    float* const cell = free_.back();
    free_.pop_back();
    return cell;
}

void Cells::reset(int64_t height, int64_t width) {
    clear();
    height_ = height;
    width_ = width;
    rows_ = (height + kCell - 1) / kCell;
    columns_ = (width + kCell - 1) / kCell;
    cells_.assign(static_cast<size_t>(rows_ * columns_), nullptr);
}

void Cells::clear() {
    for (float*& cell : cells_)
        if (cell != nullptr) {
            store_->give(cell);
            cell = nullptr;
        }
}

float* Cells::add(int64_t row, int64_t column) {
    float*& cell = cells_[static_cast<size_t>(row * columns_ + column)];
    if (cell == nullptr) cell = store_->take();
    return cell;
}

void Cells::gather(int64_t top, int64_t left, const Plane4& out) const {
    const int64_t x_begin = std::max<int64_t>(left, 0);
    const int64_t x_end = std::min(left + out.width, width_);
    for (int64_t i = 0; i < out.height; ++i) {
        float* const row = out.row(i);
        const int64_t y = top + i;
        if (y < 0 || y >= height_ || x_begin >= x_end) {
            std::fill_n(row, out.width * kLanes, 0.0F);
            continue;
        }
        std::fill_n(row, (x_begin - left) * kLanes, 0.0F);
        for (int64_t x = x_begin; x < x_end;) {
            const int64_t stop = std::min((x / kCell + 1) * kCell, x_end);
            float* const to = row + (x - left) * kLanes;
            const float* const from = at(y, x);
            if (from == kNothing)
                std::fill_n(to, (stop - x) * kLanes, 0.0F);
            else
                std::memcpy(to, from, static_cast<size_t>((stop - x) * kLanes) * sizeof(float));
            x = stop;
        }
        std::fill(row + (x_end - left) * kLanes, row + out.width * kLanes, 0.0F);
    }
}

void Cells::scatter(int64_t y, int64_t x, int64_t count, const float* from) {
    for (const int64_t end = x + count; x < end;) {
        const int64_t stop = std::min((x / kCell + 1) * kCell, end);
        std::memcpy(at(y, x), from, static_cast<size_t>((stop - x) * kLanes) * sizeof(float));
        from += (stop - x) * kLanes;
        x = stop;
    }
}

}  // namespace pconv::inpaint
