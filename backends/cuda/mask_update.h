// The mask side on CUDA, the same for every row: own kernels over planes.
#pragma once

#include <memory>
#include <vector>

#include "cuda/device/device.h"
#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

class CudaMaskUpdate final : public MaskUpdate {
  public:
    CudaMaskUpdate(CudaDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                   const MaskPlanes& results);
    void compute(const std::vector<TensorRef>& planes) override;
    void setWeights(const TensorRef& weight) override;

    const PackedMask& packed() const { return packed_; }
    const MaskResults& results() const { return results_; }

  private:
    bool weighted() const { return desc_.maskedConvolution() && desc_.mask_type != MaskType::none; }
    void describe(const MaskPlanes& results);

    CudaDevice& device_;
    PartialConvDesc desc_;
    std::vector<MaskSegment> segments_;
    MaskProblem problem_{};
    std::shared_ptr<Buffer> memory_;
    float* magnitude_ = nullptr;
    MaskPlanes keep_;
    PackedMask packed_{};
    MaskResults results_{};
};

// How many consecutive input channels of `desc` are sure to share a plane, as PackedMask counts them, where
// one plane serves them all.
int onePlaneChunk(const PartialConvDesc& desc);

}  // namespace pconv::cuda
