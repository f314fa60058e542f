// The mask of a masked convolution: one a channel, weighted by the magnitudes of its weights.
#include "kernel_support.cuh"

namespace pconv::cuda {

namespace {

constexpr unsigned kThreads = 256;

template <typename T>
__global__ void weightMagnitude(const T* weight, int count, int taps, float* magnitude) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i >= count) return;
    double sum = 0;
    for (int tap = 0; tap < taps; ++tap) {
        const float value = toFloat(weight[static_cast<int64_t>(i) * taps + tap]);
        sum += static_cast<double>(value < 0 ? -value : value);
    }
    magnitude[i] = static_cast<float>(sum);
}

struct MaskedConvParameters {
    ConvShape shape;
    int batch, plane_count;
    float eps;
    const int* plane_of_channel;
    const float* magnitude;
    float* updated;
};

// One thread an element of m'.
template <typename Plane>
__global__ void maskedConvMask(MaskedConvParameters p, const Plane* packed) {
    const ConvShape& s = p.shape;
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int out_volume = s.output[0] * s.output[1] * s.output[2];
    if (i >= static_cast<int64_t>(p.batch) * s.out_channels * out_volume) return;
    int position = static_cast<int>(i % out_volume);
    const int c = static_cast<int>(i / out_volume % s.out_channels);
    const int n = static_cast<int>(i / out_volume / s.out_channels);
    int centre = 0;
    int pitch = 1;
    bool inside = true;
    for (int axis = 2; axis >= 0; --axis) {
        const int at = position % s.output[axis] * s.stride[axis] - s.padding[axis] +
                       s.kernel[axis] / 2 * s.dilation[axis];
        position /= s.output[axis];
        inside = inside && at >= 0 && at < s.input[axis];
        centre += at * pitch;
        pitch *= s.input[axis];
    }
    const int group_in = s.in_channels / s.groups;
    const int first = c / (s.out_channels / s.groups) * group_in;
    const float* magnitude = p.magnitude + static_cast<int64_t>(c) * group_in;
    const Plane* planes = packed + static_cast<int64_t>(n) * p.plane_count * pitch;
    float sum = 0;
    float total = 0;
    for (int j = 0; j < group_in; ++j) {
        total += magnitude[j];
        if (!inside) continue;
        const auto m =
            static_cast<float>(planes[static_cast<int64_t>(p.plane_of_channel[first + j]) * pitch + centre]);
        sum += magnitude[j] * m;
    }
    total += p.eps;
    p.updated[i] = total > 0 ? sum / total : 0;
}

__global__ void setOnes(uint8_t* to, int count) {
    const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < count) to[i] = 1;
}

dim3 blocksFor(int64_t threads) {
    return dim3(static_cast<unsigned>(ceilDivide<int64_t>(threads, kThreads)));
}

}  // namespace

cudaError_t launchWeightMagnitude(const ConvShape& shape, DataType type, const void* weight, float* magnitude,
                                  cudaStream_t stream) {
    const int count = shape.out_channels * (shape.in_channels / shape.groups);
    const int taps = volumeOf(shape.kernel);
    const auto with = [&](auto element) {
        using T = decltype(element);
        return launch(weightMagnitude<T>, blocksFor(count), kThreads, 0, stream,
                      static_cast<const T*>(weight), count, taps, magnitude);
    };
    return type == DataType::f32 ? with(float{}) : type == DataType::f16 ? with(F16{}) : with(Bf16{});
}

cudaError_t launchMaskedConvMask(const MaskProblem& p, const float* magnitude, cudaStream_t stream) {
    const int out_volume = volumeOf(p.shape.output);
    if (p.type == MaskType::none)
        return launch(setOnes, blocksFor(out_volume), kThreads, 0, stream, static_cast<uint8_t*>(p.updated),
                      out_volume);
    const bool fractional = p.type == MaskType::fractional;
    const cudaError_t status = launchMaskPack(p, stream);
    if (status != cudaSuccess) return status;
    MaskedConvParameters k{};
    k.shape = p.shape;
    k.batch = p.batch;
    k.plane_count = maskMemory(p).plane_count;
    k.eps = p.eps;
    k.plane_of_channel = p.plane_of_channel;
    k.magnitude = magnitude;
    k.updated = static_cast<float*>(p.updated);
    const dim3 blocks = blocksFor(static_cast<int64_t>(p.batch) * p.shape.out_channels * out_volume);
    if (fractional)
        return launch(maskedConvMask<float>, blocks, kThreads, 0, stream, k,
                      static_cast<const float*>(p.packed));
    return launch(maskedConvMask<uint8_t>, blocks, kThreads, 0, stream, k,
                  static_cast<const uint8_t*>(p.packed));
}

}  // namespace pconv::cuda
