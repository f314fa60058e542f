// cuda:cudnn: cuDNN convolves, with the partial convolution's arithmetic fused into the epilogue where that
// keeps the products exact enough and one ratio serves all channels; own passes mask and transpose around it.
// It reads and writes dense memory: a caller's tensor in place where it is that, else scratch. Exact f32,
// whose engines transpose channels-last tensors to and fro, is contiguous within; all else is channels-last.
#include "cuda/partial_conv.h"
#include "cuda/cudnn/context.h"
#include "cuda/kernels/strided_copy.h"

namespace pconv::cuda {

namespace {

constexpr size_t kAlignment = 16;

// ---- What is asked of cuDNN ------------------------------------------------------------------------------

bool exactF32(const PartialConvDesc& desc) {
    return desc.data_type == DataType::f32 && !desc.fast_math;
}

Layout innerLayout(const PartialConvDesc& desc) {
    return exactF32(desc) ? Layout::contiguous : Layout::channels_last;
}

bool isMaskedConvolution(const PartialConvDesc& desc) {
    return desc.maskedConvolution() && desc.mask_type != MaskType::none;
}

// Whether the convolution alone is the output.
bool nothingFollows(const PartialConvDesc& desc) {
    return desc.maskedConvolution() && !isMaskedConvolution(desc) && !desc.has_bias &&
           desc.activation == Activation::none;
}

// Whether the forward pass is finished by a pass of ours: engines that fuse compute f32 in TF32, and take one
// ratio for all channels.
bool finishedApart(const PartialConvDesc& desc) {
    return exactF32(desc) || desc.maskGroups() > 1 || isMaskedConvolution(desc);
}

CudnnConv convFor(const PartialConvDesc& desc, ConvPass pass) {
    CudnnConv conv;
    conv.pass = pass;
    conv.batch = desc.batch;
    conv.in_channels = desc.in_channels;
    conv.out_channels = desc.out_channels;
    conv.groups = desc.groups;
    conv.window = desc.window;
    conv.data_type = desc.data_type;
    conv.exact = !desc.fast_math;
    conv.layout = innerLayout(desc);
    return conv;
}

CudnnConv forwardConv(const PartialConvDesc& desc) {
    CudnnConv conv = convFor(desc, ConvPass::forward);
    conv.plain = desc.maskedConvolution();
    conv.fused = !finishedApart(desc) && !nothingFollows(desc);
    // 16 bits would round the sums before the ratio.
    conv.wide_output = finishedApart(desc) && desc.data_type != DataType::f32;
    conv.has_bias = desc.has_bias;
    conv.activation = desc.activation;
    conv.negative_slope = desc.negative_slope;
    return conv;
}

// With one plane the mask may be in the epilogue, which cuDNN has not in 3-D with strides.
CudnnConv gradInputConv(const PartialConvDesc& desc) {
    CudnnConv conv = convFor(desc, ConvPass::grad_input);
    const Dims3& stride = desc.window.stride;
    const bool strided = stride[0] > 1 || stride[1] > 1 || stride[2] > 1;
    conv.fused = !exactF32(desc) && desc.mask_type != MaskType::none && !desc.multi_channel &&
                 desc.input_layout == Layout::channels_last && (conv.spatialDims() == 2 || !strided);
    return conv;
}

// ---- Tensors ---------------------------------------------------------------------------------------------

// Dense [rows, channels, D, H, W] at `data`.
View denseView(Layout layout, void* data, int64_t channels, const Dims3& size) {
    const bool last = layout == Layout::channels_last;
    const int64_t w = last ? channels : 1;
    const int64_t h = w * size[2];
    const int64_t d = h * size[1];
    const int64_t all = d * size[0];
    return {data, {last ? all : all * channels, last ? 1 : all, d, h, w}};
}

bool isDense(Layout layout, const TensorRef& tensor, int64_t rows, int64_t channels, const Dims3& size) {
    const View dense = denseView(layout, nullptr, channels, size);
    const std::array<int64_t, 5> dims{rows, channels, size[0], size[1], size[2]};
    for (size_t i = 0; i < 5; ++i)
        if (dims[i] > 1 && tensor.strides[i] != dense.strides[i]) return false;
    return reinterpret_cast<uintptr_t>(pointer(tensor)) % kAlignment == 0;
}

size_t tensorSize(int64_t rows, int64_t channels, const Dims3& size, DataType type) {
    return static_cast<size_t>(rows * channels * volume(size)) * sizeOf(type);
}

class CudnnPartialConv final : public CudaPartialConv {
  public:
    CudnnPartialConv(CudaDevice& device, const PartialConvDesc& desc);
    void setWeights(const TensorRef& weight, const TensorRef* bias) override;
    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override;
    void backward(const MaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                  const Gradients& gradients) override;

  private:
    // Memory made with the convolution where it is sure to be needed, else when a tensor first asks for it.
    char* scratch(std::shared_ptr<CudaBuffer>& buffer, size_t bytes) const;
    DataType resultType() const { return forward_.wide_output ? DataType::f32 : desc_.data_type; }
    size_t inputBytes() const;
    size_t outputBytes() const;  // as the convolution or the gradient's preparation leaves it
    // In tiles, for whole tensors of activations.
    void copyTensor(const ConvProblem& problem, const View& from, const View& to, int64_t channels,
                    const Dims3& size, const PackedMask& mask) const;
    // Element by element, for weights and for adding.
    void copyElements(const View& from, const View& to, int64_t rows, int64_t channels, const Dims3& size,
                      const PackedMask& mask, bool accumulate) const;
    char* maskedInput(const ConvProblem& problem, const TensorRef& input);
    float* planes(std::shared_ptr<CudaBuffer>& buffer, const void* source, bool is_u8, int batch,
                  const Dims3& size, bool as_predicate = false) const;
    void run(const CudnnPlan& plan, const CudnnTensors& tensors) const;
    void gradWeight(const ConvProblem& problem, const TensorRef& input, const TensorRef& result,
                    bool accumulate);
    void gradInput(const ConvProblem& problem, const TensorRef& result, bool accumulate);

    const Layout inner_;
    CudnnConv forward_;
    CudnnConv grad_input_;
    std::shared_ptr<const CudnnPlan> forward_plan_, grad_input_plan_, grad_weight_plan_;
    std::shared_ptr<CudaBuffer> weight_, grad_weight_, workspace_, partials_;
    std::shared_ptr<CudaBuffer> input_, output_;          // scratch
    std::shared_ptr<CudaBuffer> ratio_, updated_, mask_;  // planes
};

CudnnPartialConv::CudnnPartialConv(CudaDevice& device, const PartialConvDesc& desc)
    : CudaPartialConv(device, desc),
      inner_(innerLayout(desc)),
      forward_(forwardConv(desc)),
      grad_input_(gradInputConv(desc)) {
    const CurrentDevice current(device.index());
    CudnnContext& cudnn = device.cudnn();
    forward_plan_ = cudnn.plan(forward_);
    size_t workspace = forward_plan_->workspaceBytes();
    if (desc.training) {
        grad_input_plan_ = cudnn.plan(grad_input_);
        grad_weight_plan_ = cudnn.plan(convFor(desc, ConvPass::grad_weight));
        workspace =
            std::max({workspace, grad_input_plan_->workspaceBytes(), grad_weight_plan_->workspaceBytes()});
        grad_weight_ = allocate(weightBytes());
        partials_ = allocate(gradPartialBytes(shape_));
    }
    weight_ = allocate(weightBytes());
    workspace_ = allocate(workspace);
    if (desc.maskInput() || desc.input_layout != inner_ || desc.training) input_ = allocate(inputBytes());
    if (desc.output_layout != inner_ || desc.training || forward_.wide_output)
        output_ = allocate(outputBytes());
    const auto plane_bytes = [&](const Dims3& size) {
        return static_cast<size_t>(desc.batch * volume(size)) * sizeof(float);
    };
    if (forward_.fused && !forward_.plain) {
        ratio_ = allocate(plane_bytes(desc.window.output));
        if (desc.has_bias) updated_ = allocate(plane_bytes(desc.window.output));
    }
    if (desc.training && grad_input_.fused) mask_ = allocate(plane_bytes(desc.window.input));
}

char* CudnnPartialConv::scratch(std::shared_ptr<CudaBuffer>& buffer, size_t bytes) const {
    if (buffer == nullptr) buffer = allocate(bytes);
    return buffer->data();
}

size_t CudnnPartialConv::inputBytes() const {
    return tensorSize(desc_.batch, desc_.in_channels, desc_.window.input, desc_.data_type);
}

size_t CudnnPartialConv::outputBytes() const {
    return tensorSize(desc_.batch, desc_.out_channels, desc_.window.output, resultType());
}

void CudnnPartialConv::copyTensor(const ConvProblem& problem, const View& from, const View& to,
                                  int64_t channels, const Dims3& size, const PackedMask& mask) const {
    ConvProblem copy = problem;
    copy.shape.groups = 1;
    copy.shape.in_channels = static_cast<int>(channels);
    for (size_t d = 0; d < 3; ++d) copy.shape.input[d] = static_cast<int>(size[d]);
    copy.mask = mask;
    copy.input_is_masked = mask.planes == nullptr;
    check(launchMaskedCopy(copy, from, to, copy.shape.in_channels, stream()), "copying a tensor");
}

void CudnnPartialConv::copyElements(const View& from, const View& to, int64_t rows, int64_t channels,
                                    const Dims3& size, const PackedMask& mask, bool accumulate) const {
    const StridedCopy copy{
        desc_.data_type,       desc_.data_type, {rows, channels, size[0], size[1], size[2]}, from, to, mask,
        desc_.input_is_masked, accumulate};
    check(launchStridedCopy(copy, stream()), "copying a tensor");
}

void CudnnPartialConv::run(const CudnnPlan& plan, const CudnnTensors& tensors) const {
    device_.cudnn().execute(plan, tensors, workspace_ != nullptr ? workspace_->data() : nullptr);
}

void CudnnPartialConv::setWeights(const TensorRef& weight, const TensorRef* bias) {
    const CurrentDevice current(device_.index());
    const int64_t channels = desc_.in_channels / desc_.groups;
    copyElements(view(weight), denseView(inner_, weight_->data(), channels, desc_.window.kernel),
                 desc_.out_channels, channels, desc_.window.kernel, {}, false);
    setBias(bias);
}

// ---- Forward
// -----------------------------------------------------------------------------------------------

// The input as cuDNN reads it: dense, and 0 in the holes.
char* CudnnPartialConv::maskedInput(const ConvProblem& problem, const TensorRef& input) {
    const bool masked = problem.input_is_masked || problem.mask.planes == nullptr;
    if (masked && isDense(inner_, input, desc_.batch, desc_.in_channels, desc_.window.input))
        return static_cast<char*>(pointer(input));
    char* const dense = scratch(input_, inputBytes());
    copyTensor(problem, view(input), denseView(inner_, dense, desc_.in_channels, desc_.window.input),
               desc_.in_channels, desc_.window.input, masked ? PackedMask{} : problem.mask);
    return dense;
}

// Planes in f32 of every image, where the source is not that already.
float* CudnnPartialConv::planes(std::shared_ptr<CudaBuffer>& buffer, const void* source, bool is_u8,
                                int batch, const Dims3& size, bool as_predicate) const {
    auto* const expanded = reinterpret_cast<float*>(buffer->data());
    check(launchExpandPlanes(source, is_u8, batch, shape_.batch, volume(size), as_predicate, expanded,
                             stream()),
          "expanding planes");
    return expanded;
}

void CudnnPartialConv::forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) {
    const CurrentDevice current(device_.index());
    const ConvProblem problem = problemFor(update);
    const MaskResults& results = problem.results;
    const Dims3& size = desc_.window.output;
    char* const x = maskedInput(problem, input);
    const bool in_place =
        !forward_.wide_output && isDense(inner_, output, desc_.batch, desc_.out_channels, size);
    char* const y = in_place ? static_cast<char*>(pointer(output)) : scratch(output_, outputBytes());
    const View dense = denseView(inner_, y, desc_.out_channels, size);
    CudnnTensors tensors{{kTensorX, x}, {kTensorW, weight_->data()}, {kTensorY, y}};
    if (!forward_.fused && !nothingFollows(desc_)) {
        run(*forward_plan_, tensors);
        check(launchEpilogue(problem, resultType(), dense, bias_ != nullptr ? bias_->data() : nullptr,
                             view(output), stream()),
              "finishing the output");
        return;
    }
    if (bias_ != nullptr) tensors.emplace_back(kTensorBias, bias_->data());
    if (ratio_ != nullptr)
        tensors.emplace_back(kTensorRatio, planes(ratio_, results.ratio, false, results.batch, size));
    if (updated_ != nullptr)
        tensors.emplace_back(
            kTensorUpdated,
            planes(updated_, results.updated, results.updated_type == MaskType::binary, results.batch, size));
    run(*forward_plan_, tensors);
    if (!in_place) copyTensor(problem, dense, view(output), desc_.out_channels, size, {});
}

// ---- Backward
// ----------------------------------------------------------------------------------------------

void CudnnPartialConv::backward(const MaskUpdate& update, const TensorRef& input,
                                const TensorRef& grad_output, const Gradients& gradients) {
    const CurrentDevice current(device_.index());
    const ConvProblem problem = problemFor(update);
    const View dense = denseView(inner_, output_->data(), desc_.out_channels, desc_.window.output);
    check(launchGradPrepare(
              problem, view(grad_output), desc_.data_type, dense, shape_.out_channels / shape_.groups,
              gradients.bias != nullptr ? pointer(*gradients.bias) : nullptr, gradients.accumulate,
              partials_ != nullptr ? partials_->data() : nullptr, stream()),
          "preparing the gradients");
    // The scratch of the input serves one gradient after the other.
    if (gradients.weight != nullptr) gradWeight(problem, input, *gradients.weight, gradients.accumulate);
    if (gradients.input != nullptr) gradInput(problem, *gradients.input, gradients.accumulate);
}

void CudnnPartialConv::gradWeight(const ConvProblem& problem, const TensorRef& input, const TensorRef& result,
                                  bool accumulate) {
    const int64_t channels = desc_.in_channels / desc_.groups;
    run(*grad_weight_plan_, {{kTensorX, maskedInput(problem, input)},
                             {kTensorW, grad_weight_->data()},
                             {kTensorY, output_->data()}});
    copyElements(denseView(inner_, grad_weight_->data(), channels, desc_.window.kernel), view(result),
                 desc_.out_channels, channels, desc_.window.kernel, {}, accumulate);
}

void CudnnPartialConv::gradInput(const ConvProblem& problem, const TensorRef& result, bool accumulate) {
    const Dims3& size = desc_.window.input;
    const bool masked_already =
        grad_input_.fused || problem.mask.planes == nullptr || desc_.maskedConvolution();
    const bool in_place =
        masked_already && !accumulate && isDense(inner_, result, desc_.batch, desc_.in_channels, size);
    char* const dx = in_place ? static_cast<char*>(pointer(result)) : scratch(input_, inputBytes());
    CudnnTensors tensors{{kTensorX, dx}, {kTensorW, weight_->data()}, {kTensorY, output_->data()}};
    if (grad_input_.fused)
        tensors.emplace_back(kTensorMask,
                             planes(mask_, problem.mask.planes, problem.mask.type == MaskType::binary,
                                    problem.mask.batch, size, desc_.input_is_masked));
    run(*grad_input_plan_, tensors);
    if (in_place) return;
    const PackedMask mask = masked_already ? PackedMask{} : problem.mask;
    const View dense = denseView(inner_, dx, desc_.in_channels, size);
    // Only the copy by elements takes fractions as ones.
    const bool fractions =
        mask.planes != nullptr && mask.type == MaskType::fractional && desc_.input_is_masked;
    if (accumulate || fractions)
        copyElements(dense, view(result), desc_.batch, desc_.in_channels, size, mask, accumulate);
    else
        copyTensor(problem, dense, view(result), desc_.in_channels, size, mask);
}

// ---- The row
// -----------------------------------------------------------------------------------------------

class CudnnRow final : public CudaImplementation {
  public:
    using CudaImplementation::CudaImplementation;
    bool masksConvolutions() const override { return true; }

    // Builds the plans, as only that tells whether there are any; what makes the convolution finds them
    // built.
    bool supports(const Device& device, const PartialConvDesc& desc, std::string& reason) const override {
        if (findCudnn(reason) == nullptr) return false;
        if (!fitsKernels(desc)) {
            reason = "a tensor has more elements than the kernels can count";
            return false;
        }
        if (const char* rounds = roundsMaskedInput(desc); rounds != nullptr) {
            reason = rounds;
            return false;
        }
        const auto& cuda_device = static_cast<const CudaDevice&>(device);
        try {
            const CurrentDevice current(cuda_device.index());
            CudnnContext& cudnn = cuda_device.cudnn();
            cudnn.plan(forwardConv(desc));
            if (desc.training) {
                cudnn.plan(gradInputConv(desc));
                cudnn.plan(convFor(desc, ConvPass::grad_weight));
            }
        } catch (const Error& error) {
            // Whatever is wrong with cuDNN, the other rows need none of it.
            reason = error.what();
            return false;
        }
        return true;
    }

    std::unique_ptr<PartialConv> makePartialConv(Device& device, const PartialConvDesc& desc) const override {
        return std::make_unique<CudnnPartialConv>(static_cast<CudaDevice&>(device), desc);
    }
};

}  // namespace

const Implementation& cudaCudnn() {
    static const CudnnRow row("cuda:cudnn");
    return row;
}

}  // namespace pconv::cuda
