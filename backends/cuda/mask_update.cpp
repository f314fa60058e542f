#include "cuda/mask_update.h"

namespace pconv::cuda {

namespace {

constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) {
    return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

MaskProblem problemOf(const PartialConvDesc& desc) {
    MaskProblem problem{};
    problem.shape = convShape(desc);
    problem.type = desc.mask_type;
    problem.normalization = desc.normalization;
    problem.eps = desc.eps;
    problem.multi_channel = desc.multi_channel;
    problem.group_window = desc.group_window;
    problem.batch = 1;
    return problem;
}

}  // namespace

int onePlaneChunk(const PartialConvDesc& desc) {
    MaskSegment segment{};
    segment.planes = 1;
    segment.multiplicity = static_cast<int>(desc.in_channels);
    MaskProblem problem = problemOf(desc);
    problem.segment_count = 1;
    problem.segments = &segment;
    return maskMemory(problem).channels_per_plane_chunk;
}

CudaMaskUpdate::CudaMaskUpdate(CudaDevice& device, const PartialConvDesc& desc, const MaskForm& form,
                               const MaskPlanes& results)
    : device_(device), desc_(desc), problem_(problemOf(desc)), keep_(results) {
    problem_.batch = static_cast<int>(form.batch);
    problem_.hole_is_one = form.hole_is_one;
    for (const MaskSegmentForm& segment : form.segments) {
        MaskSegment entry{};
        entry.planes = static_cast<int>(segment.planes);
        // The one plane of single-channel mode serves all channels, whatever it is said to.
        entry.multiplicity = static_cast<int>(desc.multi_channel ? segment.multiplicity : desc.in_channels);
        segments_.push_back(entry);
    }
    problem_.segment_count = static_cast<int>(segments_.size());
    problem_.segments = segments_.data();

    const MaskMemory needed = maskMemory(problem_);
    const size_t magnitude =
        weighted() ? static_cast<size_t>(desc.out_channels * desc.in_channels / desc.groups) * sizeof(float)
                   : 0;
    size_t total = 0;
    const auto place = [&](size_t bytes) {
        const size_t offset = total;
        total += aligned(bytes);
        return offset;
    };
    const size_t sums = place(needed.sums);
    const size_t packed = place(needed.packed);
    const size_t channels = place(needed.plane_of_channel);
    const size_t flags = place(needed.tile_flags);
    const size_t weights = place(magnitude);
    if (total > 0) memory_ = device_.allocate(total);
    const auto at = [&](size_t offset, size_t bytes) -> char* {
        return bytes == 0 ? nullptr : static_cast<CudaBuffer&>(*memory_).data() + offset;
    };
    problem_.sums = at(sums, needed.sums);
    problem_.packed = at(packed, needed.packed);
    problem_.plane_of_channel = reinterpret_cast<int*>(at(channels, needed.plane_of_channel));
    problem_.tile_flags = reinterpret_cast<uint32_t*>(at(flags, needed.tile_flags));
    magnitude_ = reinterpret_cast<float*>(at(weights, magnitude));
    packed_ = {problem_.packed,
               desc.mask_type,
               problem_.batch,
               needed.plane_count,
               problem_.plane_of_channel,
               needed.channels_per_plane_chunk};
    describe(results);
}

void CudaMaskUpdate::describe(const MaskPlanes& results) {
    const auto data = [](const TensorRef& tensor) {
        return tensor.buffer == nullptr ? nullptr : pointer(tensor);
    };
    problem_.window_sum = static_cast<float*>(data(results.window_sum));
    problem_.updated = data(results.updated_mask);
    problem_.ratio = static_cast<float*>(data(results.ratio));
    results_.ratio = problem_.ratio;
    results_.updated = problem_.updated;
    results_.updated_type =
        results.updated_mask.data_type == DataType::u8 ? MaskType::binary : MaskType::fractional;
    // Without a mask a masked convolution is a plain one, which looks at none.
    if (desc_.maskedConvolution() && !weighted()) results_.updated_type = MaskType::none;
    results_.batch = problem_.batch;
    results_.groups = static_cast<int>(desc_.maskGroups());
    results_.tile_flags = desc_.maskedConvolution() ? nullptr : problem_.tile_flags;
}

void CudaMaskUpdate::setWeights(const TensorRef& weight) {
    const CurrentDevice current(device_.index());
    check(
        launchWeightMagnitude(problem_.shape, desc_.data_type, pointer(weight), magnitude_, device_.stream()),
        "summing the weights' magnitudes");
}

void CudaMaskUpdate::compute(const std::vector<TensorRef>& planes) {
    const CurrentDevice current(device_.index());
    for (size_t i = 0; i < planes.size(); ++i) {
        segments_[i].data = pointer(planes[i]);
        std::copy(planes[i].strides.begin(), planes[i].strides.end(), segments_[i].strides);
    }
    check(desc_.maskedConvolution() ? launchMaskedConvMask(problem_, magnitude_, device_.stream())
                                    : launchMaskUpdate(problem_, device_.stream()),
          "computing a mask update");
}

}  // namespace pconv::cuda
