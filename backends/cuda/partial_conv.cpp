#include "cuda/partial_conv.h"

namespace pconv::cuda {

CudaPartialConv::CudaPartialConv(CudaDevice& device, const PartialConvDesc& desc)
    : device_(device), desc_(desc), shape_(convShape(desc)) {
    shape_.multiprocessors = device.multiprocessors();
    const CurrentDevice current(device_.index());
    if (desc.has_bias) bias_ = allocate(static_cast<size_t>(desc.out_channels) * sizeOf(desc.data_type));
    if (desc.mask_type == MaskType::none || desc.multi_channel) return;
    plane_of_channel_ = allocate(static_cast<size_t>(desc.in_channels) * sizeof(int));
    check(cudaMemsetAsync(plane_of_channel_->data(), 0, plane_of_channel_->size(), stream()),
          "clearing a table");
    channels_per_plane_chunk_ = onePlaneChunk(desc);
}

std::shared_ptr<CudaBuffer> CudaPartialConv::allocate(size_t bytes) const {
    if (bytes == 0) return nullptr;
    return std::static_pointer_cast<CudaBuffer>(device_.allocate(bytes));
}

size_t CudaPartialConv::weightBytes() const {
    return static_cast<size_t>(desc_.out_channels * desc_.in_channels / desc_.groups *
                               volume(desc_.window.kernel)) *
           sizeOf(desc_.data_type);
}

void CudaPartialConv::setBias(const TensorRef* bias) {
    if (bias == nullptr) return;
    check(cudaMemcpyAsync(bias_->data(), pointer(*bias), bias_->size(), cudaMemcpyDefault, stream()),
          "copying the bias");
}

ConvProblem CudaPartialConv::problemFor(const MaskUpdate& update) const {
    const auto& cuda_update = static_cast<const CudaMaskUpdate&>(update);
    ConvProblem problem{};
    problem.shape = shape_;
    problem.type = desc_.data_type;
    problem.mask = cuda_update.packed();
    if (plane_of_channel_ != nullptr) {
        problem.mask.plane_of_channel = reinterpret_cast<const int*>(plane_of_channel_->data());
        problem.mask.channels_per_plane_chunk = channels_per_plane_chunk_;
    }
    problem.input_is_masked = !desc_.maskInput();
    problem.results = cuda_update.results();
    problem.has_bias = desc_.has_bias;
    problem.masked_convolution = desc_.maskedConvolution();
    problem.activation = desc_.activation;
    problem.negative_slope = desc_.negative_slope;
    return problem;
}

std::unique_ptr<MaskUpdate> CudaImplementation::makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                                               const MaskForm& form,
                                                               const MaskPlanes& results) const {
    return std::make_unique<CudaMaskUpdate>(static_cast<CudaDevice&>(device), desc, form, results);
}

}  // namespace pconv::cuda
