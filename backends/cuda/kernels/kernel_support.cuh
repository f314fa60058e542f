// What kernels share: views, masks and epilogues as they read them, and dispatch by data type.
#pragma once

#include "cuda/kernels/kernels.h"
#include "elementwise.h"
#include "launch.cuh"
#include "ptx.cuh"

namespace pconv::cuda {

__host__ __device__ __forceinline__ int volumeOf(const int (&size)[3]) {
    return size[0] * size[1] * size[2];
}

// The offset of position (d, h, w) of image n.
__device__ __forceinline__ int64_t positionOffset(const View& view, int n, int d, int h, int w) {
    return n * view.strides[0] + d * view.strides[2] + h * view.strides[3] + w * view.strides[4];
}

// A mask as a kernel reads it; `volume` is of one plane.
struct MaskReader {
    PackedMask mask;
    int volume;

    __host__ __device__ __forceinline__ bool present() const { return mask.planes != nullptr; }
    __device__ __forceinline__ int planeOf(int channel) const {
        return mask.plane_count > 1 ? mask.plane_of_channel[channel] : 0;
    }
    // Where a plane begins.
    __device__ __forceinline__ int64_t offset(int n, int plane) const {
        return (static_cast<int64_t>(mask.batch == 1 ? 0 : n) * mask.plane_count + plane) * volume;
    }
    __device__ __forceinline__ float at(int n, int plane, int position) const {
        const int64_t i = offset(n, plane) + position;
        return mask.type == MaskType::fractional
                   ? static_cast<const float*>(mask.planes)[i]
                   : static_cast<float>(static_cast<const uint8_t*>(mask.planes)[i]);
    }
};

// The mask that the input's values are multiplied by, if any.
inline MaskReader inputMask(const ConvProblem& p) {
    MaskReader reader{p.mask, volumeOf(p.shape.input)};
    if (p.input_is_masked || p.masked_convolution) reader.mask.planes = nullptr;
    return reader;
}

// The mask that the input's gradient is multiplied by; where the input came masked, its values count as 1.
struct GradientMask {
    MaskReader reader;
    bool as_predicate;

    __device__ __forceinline__ float apply(float gradient, int n, int channel, int position) const {
        if (!reader.present()) return gradient;
        const float m = reader.at(n, reader.planeOf(channel), position);
        return m == 0 ? 0 : as_predicate ? gradient : gradient * m;
    }
};

inline GradientMask gradientMask(const ConvProblem& p) {
    GradientMask mask{{p.mask, volumeOf(p.shape.input)},
                      p.input_is_masked || p.mask.type != MaskType::fractional};
    if (p.masked_convolution) mask.reader.mask.planes = nullptr;
    return mask;
}

// Ratio and updated mask of an output element.
struct ResultReader {
    MaskResults results;
    int volume;
    int channels_per_group;

    __device__ __forceinline__ int64_t index(int n, int channel, int position) const {
        const int group = results.groups == 1 ? 0 : channel / channels_per_group;
        return (static_cast<int64_t>(results.batch == 1 ? 0 : n) * results.groups + group) * volume +
               position;
    }
    __device__ __forceinline__ float ratio(int64_t i) const {
        return results.ratio == nullptr ? 1 : results.ratio[i];
    }
    __device__ __forceinline__ float updated(int64_t i) const {
        return results.updated_type == MaskType::none ? 1 : updatedInMemory(i);
    }
    __device__ __forceinline__ float updatedInMemory(int64_t i) const {
        return results.updated_type == MaskType::fractional
                   ? static_cast<const float*>(results.updated)[i]
                   : static_cast<float>(static_cast<const uint8_t*>(results.updated)[i]);
    }
};

inline ResultReader resultReader(const ConvProblem& p) {
    return {p.results, volumeOf(p.shape.output), p.shape.out_channels / p.results.groups};
}

// Without a bias a partial convolution's mask is in its ratio alone.
inline bool appliesMask(const ConvProblem& p) {
    return p.has_bias || p.masked_convolution;
}

inline elementwise::Epilogue epilogueOf(const ConvProblem& p) {
    return {appliesMask(p), p.activation, p.negative_slope};
}

// Calls f with a value of the type's element.
template <typename F>
cudaError_t withElement(DataType type, const F& f) {
    return type == DataType::f32 ? f(float{}) : type == DataType::f16 ? f(F16{}) : f(Bf16{});
}

template <typename T>
__device__ __forceinline__ void storeResult(T* to, float value, bool accumulate) {
    setFloat(*to, accumulate ? toFloat(*to) + value : value);
}

}  // namespace pconv::cuda
