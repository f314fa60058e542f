// Masked batch normalization and spatial mean on a CUDA device.
#include <algorithm>

#include "cuda/partial_conv.h"

namespace pconv::cuda {

namespace {

// The mask's planes and the sums' memory, which both operators need.
class NormState {
  public:
    NormState(CudaDevice& device, const MaskedNormDesc& desc) : device_(device) {
        const int64_t most = int64_t{1} << 30;
        int64_t elements = desc.batch;
        for (const int64_t factor : {desc.size[0], desc.size[1], desc.size[2], desc.channels}) {
            if (factor > most / elements)
                fail(PCONV_ERROR_UNSUPPORTED, "a tensor has more elements than the kernels can count");
            elements *= factor;
        }
        problem_.batch = static_cast<int>(desc.batch);
        problem_.channels = static_cast<int>(desc.channels);
        for (size_t d = 0; d < 3; ++d) problem_.size[d] = static_cast<int>(desc.size[d]);
        problem_.type = desc.data_type;
        problem_.eps = desc.eps;
        problem_.training = desc.training;
        problem_.momentum = desc.momentum;
        describeMask(desc);
        const CurrentDevice current(device_.index());
        workspace_ = device_.allocate(normWorkspaceBytes(problem_));
        const MaskMemory needed = maskMemory(mask_);
        if (needed.plane_count == 0) return;
        packed_ = device_.allocate(needed.packed);
        table_ = device_.allocate(needed.plane_of_channel);
        mask_.packed = data(*packed_);
        mask_.plane_of_channel = static_cast<int*>(data(*table_));
        problem_.mask = {mask_.packed,       desc.mask_type,         mask_.batch,
                         needed.plane_count, mask_.plane_of_channel, needed.channels_per_plane_chunk};
    }
    NormState(const NormState&) = delete;
    NormState& operator=(const NormState&) = delete;

    void pack(const std::vector<TensorRef>& planes) {
        for (size_t i = 0; i < planes.size(); ++i) {
            segments_[i].data = pointer(planes[i]);
            std::copy(planes[i].strides.begin(), planes[i].strides.end(), segments_[i].strides);
        }
        if (!planes.empty()) check(launchMaskPack(mask_, device_.stream()), "packing a mask");
    }
    const NormProblem& problem() const { return problem_; }
    void* workspace() const { return data(*workspace_); }
    CudaDevice& device() const { return device_; }

  private:
    static void* data(Buffer& buffer) { return static_cast<CudaBuffer&>(buffer).data(); }

    void describeMask(const MaskedNormDesc& desc) {
        mask_.shape.batch = problem_.batch;
        mask_.shape.in_channels = mask_.shape.out_channels = problem_.channels;
        mask_.shape.groups = 1;
        for (int d = 0; d < 3; ++d) {
            mask_.shape.input[d] = mask_.shape.output[d] = problem_.size[d];
            mask_.shape.kernel[d] = mask_.shape.stride[d] = mask_.shape.dilation[d] = 1;
        }
        mask_.type = desc.mask_type;
        mask_.normalization = Normalization::weight_magnitude;
        mask_.multi_channel = true;
        mask_.batch = static_cast<int>(desc.form.batch);
        mask_.hole_is_one = desc.form.hole_is_one;
        for (const MaskSegmentForm& form : desc.form.segments) {
            MaskSegment segment{};
            segment.planes = static_cast<int>(form.planes);
            segment.multiplicity = static_cast<int>(form.multiplicity);
            segments_.push_back(segment);
        }
        mask_.segment_count = static_cast<int>(segments_.size());
        mask_.segments = segments_.data();
    }

    CudaDevice& device_;
    NormProblem problem_{};
    MaskProblem mask_{};
    std::vector<MaskSegment> segments_;
    std::shared_ptr<Buffer> workspace_, packed_, table_;
};

float* vectorOf(const TensorRef& tensor) {
    return tensor.buffer == nullptr ? nullptr : static_cast<float*>(pointer(tensor));
}

class CudaMaskedBatchNorm final : public MaskedBatchNorm {
  public:
    CudaMaskedBatchNorm(CudaDevice& device, const MaskedNormDesc& desc) : state_(device, desc) {}
    void forward(const std::vector<TensorRef>& planes, const TensorRef& input,
                 const BatchNormParameters& parameters, const TensorRef& output) override {
        const CurrentDevice current(state_.device().index());
        state_.pack(planes);
        const BatchNormVectors vectors{vectorOf(parameters.weight), vectorOf(parameters.bias),
                                       vectorOf(parameters.running_mean), vectorOf(parameters.running_var)};
        check(launchMaskedBatchNorm(state_.problem(), view(input), vectors, view(output), state_.workspace(),
                                    state_.device().stream()),
              "running a masked batch normalization");
    }

  private:
    NormState state_;
};

class CudaMaskedSpatialMean final : public MaskedSpatialMean {
  public:
    CudaMaskedSpatialMean(CudaDevice& device, const MaskedNormDesc& desc) : state_(device, desc) {}
    void forward(const std::vector<TensorRef>& planes, const TensorRef& input, const TensorRef& output,
                 const TensorRef& output_mask) override {
        const CurrentDevice current(state_.device().index());
        state_.pack(planes);
        check(launchMaskedSpatialMean(state_.problem(), view(input), pointer(output), vectorOf(output_mask),
                                      state_.workspace(), state_.device().stream()),
              "running a masked spatial mean");
    }

  private:
    NormState state_;
};

}  // namespace

std::unique_ptr<MaskedBatchNorm> CudaDevice::makeMaskedBatchNorm(const MaskedNormDesc& desc) {
    return std::make_unique<CudaMaskedBatchNorm>(*this, desc);
}

std::unique_ptr<MaskedSpatialMean> CudaDevice::makeMaskedSpatialMean(const MaskedNormDesc& desc) {
    return std::make_unique<CudaMaskedSpatialMean>(*this, desc);
}

}  // namespace pconv::cuda
