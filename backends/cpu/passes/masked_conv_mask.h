// The mask of masked convolutions on the CPU: the magnitudes of the weights over the mask at the windows'
// centres.
#pragma once

#include <memory>
#include <vector>

#include "cpu/device.h"

namespace pconv::cpu {

class MaskedConvMaskUpdate final : public CpuMaskUpdate {
  public:
    MaskedConvMaskUpdate(CpuDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                         const MaskPlanes& results);
    void setWeights(const TensorRef& weight) override;

  protected:
    void computeResults() override;

  private:
    // A plane and the input channels of a group that it serves.
    struct Term {
        size_t segment;
        int64_t plane;
        int64_t first, channels;  // within the group
    };

    void computeRow(int64_t n, int64_t group, int64_t d, int64_t h, char* scratch) const;

    CpuDevice& device_;
    std::vector<std::vector<Term>> terms_;  // for each group
    size_t most_terms_ = 0;
    std::vector<double> magnitudes_;  // [Cout, terms of the group, most_terms_ apart]
    std::vector<double> totals_;      // [Cout], eps with it
    std::shared_ptr<Buffer> scratch_;
    size_t scratch_size_ = 0;  // for each thread
};

}  // namespace pconv::cpu
