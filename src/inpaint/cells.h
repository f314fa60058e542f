// Planes of which only some parts exist: square cells of four lanes, from a store that keeps them for the
// next picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace pconv::inpaint {

// Four floats a pixel: three colours and a weight, or the three terms of a symmetric tensor and a weight.
inline constexpr int kLanes = 4;

// A picture of four lanes in someone else's memory, rows without gaps.
struct Plane4 {
    float* data = nullptr;
    int64_t height = 0;
    int64_t width = 0;
    float* row(int64_t y) const { return data + y * width * kLanes; }
};

inline constexpr int64_t kCell = 64;  // pixels along a side

class CellStore {
  public:
    float* take();
    void give(float* cell) { free_.push_back(cell); }

  private:
    std::vector<std::unique_ptr<float[]>> all_;
    std::vector<float*> free_;
};

class Cells {
  public:
    explicit Cells(CellStore& store) : store_(&store) {}
    Cells(const Cells&) = delete;
    Cells& operator=(const Cells&) = delete;
    Cells(Cells&& other) noexcept = default;
    ~Cells() { clear(); }

    // No cells, of a plane of this size.
    void reset(int64_t height, int64_t width);
    void clear();
    int64_t rows() const { return rows_; }
    int64_t columns() const { return columns_; }
    int64_t height() const { return height_; }
    int64_t width() const { return width_; }
    float* add(int64_t row, int64_t column);

    // A pixel; 0 where there is no cell.
    const float* at(int64_t y, int64_t x) const {
        const float* const cell = cells_[static_cast<size_t>(y / kCell * columns_ + x / kCell)];
        return cell == nullptr ? kNothing : cell + (y % kCell * kCell + x % kCell) * kLanes;
    }
    float* at(int64_t y, int64_t x) { return const_cast<float*>(static_cast<const Cells*>(this)->at(y, x)); }
    // Copies what lies at `top`, `left` and below; 0 where there is no cell, and beyond the plane.
    void gather(int64_t top, int64_t left, const Plane4& out) const;
    // Writes a run of a row; there are cells.
    void scatter(int64_t y, int64_t x, int64_t count, const float* from);

  private:
    static const float kNothing[kLanes];
    CellStore* store_;
    int64_t height_ = 0, width_ = 0, rows_ = 0, columns_ = 0;
    std::vector<float*> cells_;
};

}  // namespace pconv::inpaint
