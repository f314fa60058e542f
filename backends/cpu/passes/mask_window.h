// The mask side on the CPU: sums over channels into padded rows, then sums of shifted rows.
#pragma once

#include <memory>
#include <vector>

#include "cpu/device.h"

namespace pconv::cpu {

class WindowMaskUpdate final : public CpuMaskUpdate {
  public:
    WindowMaskUpdate(CpuDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                     const MaskPlanes& results);

  protected:
    void computeResults() override;

  private:
    // Consecutive planes of a segment that each count `weight` times in a group's sum.
    struct Term {
        size_t segment;
        int64_t first;
        int64_t planes;
        int64_t weight;
    };
    // Outputs that one thread does at a time: rows of one depth, or a part of one row.
    struct Block {
        int64_t plane, d, h, rows, w, width;
    };

    template <typename Sum>
    void computeWith();
    template <typename Sum>
    void sumChannels(int64_t first_row, int64_t rows, char* scratch) const;
    template <typename Sum>
    void padRow(Sum* to, const Sum* sums) const;
    template <typename Sum>
    void sumWindows(const Block& block, char* scratch) const;
    void gatherTerms();
    size_t elementSize() const;
    int64_t planeSize() const { return desc_.window.input[0] * padded_rows_ * pitch_; }

    CpuDevice& device_;
    std::vector<std::vector<Term>> terms_;  // for each group
    // A padded row's elements with equal remainder by the stride lie together, so that every tap of the
    // window is a shifted row.
    int64_t phase_length_ = 0;
    int64_t pitch_ = 0;
    int64_t padded_rows_ = 0;
    int64_t input_rows_ = 0;  // summed at once
    int64_t block_rows_ = 0;
    int64_t block_width_ = 0;
    std::shared_ptr<Buffer> sums_;  // over channels, [mask batch * groups, D, padded rows, pitch]
    std::shared_ptr<Buffer> scratch_;
    size_t scratch_size_ = 0;  // for each thread
    size_t row_pointers_at_ = 0;
};

}  // namespace pconv::cpu
