// The mask side on the CPU: sums over channels into padded rows, then sums of shifted rows; large planes in
// parts.
#pragma once

#include <memory>
#include <vector>

#include "cpu/device.h"
#include "cpu/scratch.h"

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
    // Outputs whose sums over channels are held at a time: planes, or a box of one.
    struct Part {
        int64_t first_plane, planes;
        Dims3 input_begin, output_begin;
        Window window;  // of the box
        // A padded row's elements with equal remainder by the stride lie together, so that every tap of the
        // window is a shifted row.
        int64_t phase_length, pitch, padded_rows;
        int64_t input_rows, input_width;  // summed over channels at once
        int64_t block_rows, block_width;  // outputs done at once
        int64_t line_length;              // of a phase under a block

        int64_t planeSize() const { return window.input[0] * padded_rows * pitch; }
    };
    // Outputs of a part that one thread does at a time: rows of one depth, or a part of one row.
    struct Block {
        int64_t plane, d, h, rows, w, width;
    };

    template <typename Sum>
    void computePart(const Part& part);
    template <typename Sum>
    void sumChannels(const Part& part, int64_t first_row, int64_t rows, int64_t column, char* scratch) const;
    template <typename Sum>
    void sumWindows(const Part& part, const Block& block, char* scratch) const;
    void gatherTerms();
    Part partOf(int64_t first_plane, int64_t planes, const Dims3& begin, const Dims3& size) const;
    void makeParts();
    size_t elementSize() const;

    CpuDevice& device_;
    std::vector<std::vector<Term>> terms_;  // for each group
    std::vector<Part> parts_;
    Scratch scratch_;          // the sums, and what each thread needs
    void* sums_ = nullptr;     // over channels, [a part's planes, D, padded rows, pitch]; where they lie now
    size_t sums_size_ = 0;     // in bytes
    size_t scratch_size_ = 0;  // for each thread
    size_t row_pointers_at_ = 0;
};

}  // namespace pconv::cpu
