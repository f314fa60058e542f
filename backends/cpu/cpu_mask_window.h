// The mask side on the CPU: window sums of planes, row by row.
#pragma once

#include <memory>
#include <vector>

#include "cpu_device.h"

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
    // The part of one row that one thread works on at a time.
    struct Piece {
        int64_t n, g, d, h, begin, end;
    };

    template <typename Sum>
    void computeWith();
    template <typename Sum>
    void sumChannels(const Piece& piece, char* scratch) const;
    template <typename Sum>
    void sumWindows(const Piece& piece, char* scratch) const;
    Piece pieceOf(int64_t index, const Dims3& dims) const;
    int64_t lineLength() const;

    CpuDevice& device_;
    std::vector<std::vector<Term>> terms_;  // for each group
    std::shared_ptr<Buffer> sums_;          // over channels, [mask batch, groups, D, H, W]
    std::shared_ptr<Buffer> scratch_;
    size_t scratch_size_ = 0;  // for each thread
};

}  // namespace pconv::cpu
