// cuda:igemm and cuda:direct: the rows over the own kernels, which need nothing but memory and launches.
#include <algorithm>

#include "cuda/partial_conv.h"

namespace pconv::cuda {

namespace {

// What differs between the two rows.
struct Direct {
    static const char* declines(const PartialConvDesc& /*desc*/) { return nullptr; }
    static size_t weightBytes(const ConvShape& shape, DataType /*type*/, bool backward) {
        return directWeightBytes(shape, backward);
    }
    static constexpr auto* pack = launchDirectWeights;
    static size_t forwardBytes(const ConvShape& /*shape*/, DataType /*type*/) { return 0; }
    static cudaError_t forward(const ConvProblem& problem, const View& input, const void* weight,
                               const void* bias, const View& output, void* /*workspace*/,
                               cudaStream_t stream) {
        return launchDirectForward(problem, input, weight, bias, output, stream);
    }
    static size_t backwardBytes(const ConvShape& shape, DataType /*type*/) {
        return directBackwardWorkspaceBytes(shape);
    }
    static constexpr auto* backward = launchDirectBackward;
};

struct Igemm {
    static const char* declines(const PartialConvDesc& desc) {
        const char* reason = igemmDeclines(convShape(desc), desc.data_type, desc.fast_math);
        return reason != nullptr ? reason : roundsMaskedInput(desc);
    }
    static constexpr auto* weightBytes = igemmWeightBytes;
    static constexpr auto* pack = launchIgemmWeights;
    static constexpr auto* forwardBytes = igemmForwardWorkspaceBytes;
    static constexpr auto* forward = launchIgemmForward;
    static constexpr auto* backwardBytes = igemmBackwardWorkspaceBytes;
    static constexpr auto* backward = launchIgemmBackward;
};

template <typename Kernels>
class KernelPartialConv final : public CudaPartialConv {
  public:
    KernelPartialConv(CudaDevice& device, const PartialConvDesc& desc) : CudaPartialConv(device, desc) {
        weights_ = allocate(Kernels::weightBytes(shape_, desc.data_type, false));
        size_t workspace = Kernels::forwardBytes(shape_, desc.data_type);
        if (desc.training) {
            backward_weights_ = allocate(Kernels::weightBytes(shape_, desc.data_type, true));
            workspace = std::max(workspace, Kernels::backwardBytes(shape_, desc.data_type));
        }
        workspace_ = allocate(workspace);
    }

    void setWeights(const TensorRef& weight, const TensorRef* bias) override {
        const CurrentDevice current(device_.index());
        pack(weight, weights_, false);
        if (backward_weights_ != nullptr) pack(weight, backward_weights_, true);
        setBias(bias);
    }

    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override {
        const CurrentDevice current(device_.index());
        check(Kernels::forward(problemFor(update), view(input), weights_->data(), dataOf(bias_), view(output),
                               dataOf(workspace_), stream()),
              "running a partial convolution");
    }

    void backward(const MaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                  const Gradients& gradients) override {
        const CurrentDevice current(device_.index());
        const View grad_input = gradients.input != nullptr ? view(*gradients.input) : View{};
        const GradientOutputs outputs{gradients.input != nullptr ? &grad_input : nullptr,
                                      gradients.weight != nullptr ? pointer(*gradients.weight) : nullptr,
                                      gradients.bias != nullptr ? pointer(*gradients.bias) : nullptr,
                                      gradients.accumulate};
        check(Kernels::backward(problemFor(update), view(input), view(grad_output), backward_weights_->data(),
                                outputs, dataOf(workspace_), stream()),
              "running a partial convolution backward");
    }

  private:
    void pack(const TensorRef& weight, const std::shared_ptr<CudaBuffer>& packed, bool backward) {
        check(Kernels::pack(shape_, desc_.data_type, pointer(weight), packed->data(), backward, stream()),
              "packing the weights");
    }
    static char* dataOf(const std::shared_ptr<CudaBuffer>& buffer) {
        return buffer != nullptr ? buffer->data() : nullptr;
    }

    std::shared_ptr<CudaBuffer> weights_, backward_weights_, workspace_;
};

template <typename Kernels>
class KernelRow final : public CudaImplementation {
  public:
    using CudaImplementation::CudaImplementation;
    bool masksConvolutions() const override { return true; }
    bool supports(const Device& /*device*/, const PartialConvDesc& desc, std::string& reason) const override {
        const char* declined = fitsKernels(desc) ? Kernels::declines(desc)
                                                 : "a tensor has more elements than the kernels can count";
        if (declined != nullptr) reason = declined;
        return declined == nullptr;
    }
    std::unique_ptr<PartialConv> makePartialConv(Device& device, const PartialConvDesc& desc) const override {
        return std::make_unique<KernelPartialConv<Kernels>>(static_cast<CudaDevice&>(device), desc);
    }
};

}  // namespace

const Implementation& cudaIgemm() {
    static const KernelRow<Igemm> row("cuda:igemm");
    return row;
}

const Implementation& cudaDirect() {
    static const KernelRow<Direct> row("cuda:direct");
    return row;
}

}  // namespace pconv::cuda
