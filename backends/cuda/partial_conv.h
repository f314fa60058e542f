// What the convolutions of all CUDA rows have in common.
#pragma once

#include <memory>

#include "cuda/mask_update.h"

namespace pconv::cuda {

class CudaPartialConv : public PartialConv {
  public:
    CudaPartialConv(CudaDevice& device, const PartialConvDesc& desc);

  protected:
    // The problem of one call, with the mask of `update`.
    ConvProblem problemFor(const MaskUpdate& update) const;
    // Device memory of this object, "" bytes being none.
    std::shared_ptr<CudaBuffer> allocate(size_t bytes) const;
    size_t weightBytes() const;
    void setBias(const TensorRef* bias);
    cudaStream_t stream() const { return device_.stream(); }

    CudaDevice& device_;
    PartialConvDesc desc_;
    ConvShape shape_;
    std::shared_ptr<CudaBuffer> bias_;

  private:
    // One plane serves as many channels as this convolution has, which may be more than its update was made
    // for.
    std::shared_ptr<CudaBuffer> plane_of_channel_;
    int channels_per_plane_chunk_ = 1;
};

// For rows whose operands are 16-bit: null, or why exact math excludes them.
inline const char* roundsMaskedInput(const PartialConvDesc& desc) {
    const bool rounds = desc.data_type != DataType::f32 && desc.mask_type == MaskType::fractional &&
                        desc.maskInput() && !desc.fast_math;
    return rounds ? "a fractional mask times a 16-bit input is rounded to 16 bits, which exact math excludes"
                  : nullptr;
}

// A row with the common mask side.
class CudaImplementation : public Implementation {
  public:
    using Implementation::Implementation;
    bool trains() const override { return true; }
    std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                               const MaskForm& form,
                                               const MaskPlanes& results) const override;
};

}  // namespace pconv::cuda
