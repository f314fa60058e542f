// What stands between the kernels and the rest of the backend: shapes, workspaces and the order of launches.
#include <algorithm>

#include "igemm_support.cuh"
#include "weight_gradient.cuh"

namespace pconv::cuda {

namespace {

constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) {
    return ceilDivide(bytes, kAlignment) * kAlignment;
}

}  // namespace

ConvShape convShape(const PartialConvDesc& desc) {
    ConvShape s{};
    s.batch = static_cast<int>(desc.batch);
    s.in_channels = static_cast<int>(desc.in_channels);
    s.out_channels = static_cast<int>(desc.out_channels);
    s.groups = static_cast<int>(desc.groups);
    for (size_t d = 0; d < 3; ++d) {
        s.input[d] = static_cast<int>(desc.window.input[d]);
        s.kernel[d] = static_cast<int>(desc.window.kernel[d]);
        s.stride[d] = static_cast<int>(desc.window.stride[d]);
        s.padding[d] = static_cast<int>(desc.window.padding[d]);
        s.dilation[d] = static_cast<int>(desc.window.dilation[d]);
        s.output[d] = static_cast<int>(desc.window.output[d]);
    }
    return s;
}

bool fitsKernels(const PartialConvDesc& desc) {
    constexpr int64_t most = int64_t{1} << 30;
    constexpr int64_t most_channels = 65535;
    const auto fits = [](int64_t images, const Dims3& size) {
        for (const int64_t factor : size) {
            if (factor > most / images) return false;
            images *= factor;
        }
        return true;
    };
    const Window& w = desc.window;
    for (size_t d = 0; d < 3; ++d)
        if (w.stride[d] > most || w.padding[d] > most / 2 || w.kernel[d] > most ||
            w.dilation[d] * w.kernel[d] > most)
            return false;
    return desc.in_channels <= most_channels && desc.out_channels <= most_channels && desc.batch <= most &&
           fits(desc.batch, w.input) && fits(desc.batch, w.output) &&
           fits(std::max(desc.in_channels, desc.out_channels), w.kernel);
}

size_t directBackwardWorkspaceBytes(const ConvShape& s) {
    return aligned(gradPartialBytes(s)) +
           aligned(gradientBytes(s, DataType::f32, s.out_channels / s.groups)) + directWeightPartialBytes(s);
}

cudaError_t launchDirectBackward(const ConvProblem& problem, const View& input, const View& grad_output,
                                 const void* packed_weight, const GradientOutputs& gradients, void* workspace,
                                 cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const int channels = s.out_channels / s.groups;
    auto* memory = static_cast<char*>(workspace);
    void* bias_partials = memory;
    memory += aligned(gradPartialBytes(s));
    const bool dc_wanted = gradients.input != nullptr || gradients.weight != nullptr;
    const View dc = gradientView(s, dc_wanted ? memory : nullptr, channels);
    memory += aligned(gradientBytes(s, DataType::f32, channels));
    cudaError_t status = launchGradPrepare(problem, grad_output, DataType::f32, dc, channels, gradients.bias,
                                           gradients.accumulate, bias_partials, stream);
    if (status == cudaSuccess && gradients.input != nullptr)
        status = launchDirectInputGradient(problem, dc, packed_weight, *gradients.input, gradients.accumulate,
                                           stream);
    if (status == cudaSuccess && gradients.weight != nullptr)
        status = launchDirectWeightGradient(problem, input, dc, reinterpret_cast<float*>(memory),
                                            gradients.weight, gradients.accumulate, stream);
    return status;
}

size_t igemmBackwardWorkspaceBytes(const ConvShape& s, DataType type) {
    return aligned(gradPartialBytes(s)) +
           aligned(gradientBytes(s, type, igemmPadded(s.out_channels / s.groups, type))) +
           igemmCopyBytes(s, type) + igemmWeightPartialBytes(s, type);
}

cudaError_t launchIgemmBackward(const ConvProblem& problem, const View& input, const View& grad_output,
                                const void* packed_weight, const GradientOutputs& gradients, void* workspace,
                                cudaStream_t stream) {
    const ConvShape& s = problem.shape;
    const int channels = igemmPadded(s.out_channels / s.groups, problem.type);
    auto* memory = static_cast<char*>(workspace);
    void* bias_partials = memory;
    memory += aligned(gradPartialBytes(s));
    const bool dc_wanted = gradients.input != nullptr || gradients.weight != nullptr;
    const View dc = gradientView(s, dc_wanted ? memory : nullptr, channels);
    memory += aligned(gradientBytes(s, problem.type, channels));
    void* input_copy = memory;
    memory += igemmCopyBytes(s, problem.type);
    cudaError_t status = launchGradPrepare(problem, grad_output, problem.type, dc, channels, gradients.bias,
                                           gradients.accumulate, bias_partials, stream);
    if (status == cudaSuccess && gradients.input != nullptr)
        status = launchIgemmInputGradient(problem, dc, packed_weight, *gradients.input, gradients.accumulate,
                                          stream);
    if (status != cudaSuccess || gradients.weight == nullptr) return status;
    IgemmSource source{};
    status = igemmSource(problem, input, input_copy, source, stream);
    if (status != cudaSuccess) return status;
    return launchIgemmWeightGradient(problem, source, dc.data, reinterpret_cast<float*>(memory),
                                     gradients.weight, gradients.accumulate, stream);
}

}  // namespace pconv::cuda
