// What a pass does with an element: its value times a factor or two of its position, or of its position's
// mask. `first` and `second` are the factors, kept for `count` neighbouring positions; a place is where those
// of a channel begin.
#pragma once

#include "kernel_support.cuh"

namespace pconv::cuda {

// So many elements moved at once.
template <typename T, int count>
struct alignas(sizeof(T) * count) Several {
    T values[count];
};

struct NoChannel {};

template <int count>
struct Factors {
    float first[count], second[count];
};

template <typename T, int count>
__device__ __forceinline__ void readFloats(const T* from, float (&to)[count]) {
    if constexpr (sizeof(T) * count <= 16) {
        const auto several = *reinterpret_cast<const Several<T, count>*>(from);
#pragma unroll
        for (int i = 0; i < count; ++i) to[i] = static_cast<float>(several.values[i]);
    } else {
        float part[count / 2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            readFloats(from + half * (count / 2), part);
#pragma unroll
            for (int i = 0; i < count / 2; ++i) to[half * (count / 2) + i] = part[i];
        }
    }
}

// Of a plane of bytes that are 0 or 1, or of floats.
template <int count>
__device__ __forceinline__ void readPlane(const void* plane, MaskType type, int64_t at, float (&to)[count]) {
    if (type == MaskType::fractional)
        readFloats(static_cast<const float*>(plane) + at, to);
    else
        readFloats(static_cast<const uint8_t*>(plane) + at, to);
}

// Factors from a mask.
struct MaskFactors {
    MaskReader mask;

    __device__ __forceinline__ int64_t placeOf(int n, int channel) const {
        return mask.present() ? mask.offset(n, mask.planeOf(channel)) : 0;
    }
    template <int count>
    __device__ __forceinline__ void read(int64_t at, Factors<count>& factors) const {
#pragma unroll
        for (int i = 0; i < count; ++i) factors.first[i] = factors.second[i] = 1;
        if (mask.present()) readPlane(mask.mask.planes, mask.mask.type, at, factors.first);
    }
    // Every aligned run of so many channels has the same factors.
    int channelsOfFactor(int channels) const {
        return mask.present() && mask.mask.plane_count > 1 ? mask.mask.channels_per_plane_chunk : channels;
    }
    void planes(const void* (&of_factors)[2]) const {
        of_factors[0] = mask.mask.planes;
    }
};

// Factors from what became of a mask: the ratio, and the updated mask.
struct ResultFactors {
    ResultReader results;

    __device__ __forceinline__ int64_t placeOf(int n, int channel) const {
        return results.index(n, channel, 0);
    }
    template <int count>
    __device__ __forceinline__ void read(int64_t at, bool all_updated, Factors<count>& factors) const {
        const MaskResults& r = results.results;
#pragma unroll
        for (int i = 0; i < count; ++i) factors.first[i] = factors.second[i] = 1;
        if (r.ratio != nullptr) readFloats(r.ratio + at, factors.first);
        if (!all_updated) readPlane(r.updated, r.updated_type, at, factors.second);
    }
    int channelsOfFactor(int channels) const {
        return results.results.groups > 1 ? results.channels_per_group : channels;
    }
    void planes(const void* (&of_factors)[2]) const {
        of_factors[0] = results.results.ratio;
        of_factors[1] = results.results.updated;
    }
};

// The input times the mask; where that is 0, 0 whatever is there.
template <typename T>
struct MaskedCopyElement : MaskFactors {
    using Source = T;
    using Destination = T;
    using Channel = NoChannel;
    static constexpr bool kSums = false;

    explicit MaskedCopyElement(const MaskReader& reader) : MaskFactors{reader} {}
    __device__ __forceinline__ NoChannel channelOf(int /*channel*/) const { return {}; }
    __device__ __forceinline__ float value(float x, float m, float /*second*/, NoChannel /*none*/) const {
        return elementwise::masked(x, m);
    }
};

// The accumulator to the output.
template <typename A, typename T>
struct EpilogueElement : ResultFactors {
    using Source = A;
    using Destination = T;
    using Channel = float;  // the bias
    static constexpr bool kSums = false;
    elementwise::Epilogue epilogue;
    const T* bias;

    EpilogueElement(const ResultReader& reader, const elementwise::Epilogue& function, const T* values)
        : ResultFactors{reader}, epilogue(function), bias(values) {}
    __device__ __forceinline__ float channelOf(int channel) const {
        return bias == nullptr ? 0 : toFloat(bias[channel]);
    }
    template <int count>
    __device__ __forceinline__ void read(int64_t at, Factors<count>& factors) const {
        ResultFactors::read(at, results.results.updated_type == MaskType::none, factors);
    }
    __device__ __forceinline__ float value(float c, float ratio, float updated, float bias_value) const {
        return epilogue(c, ratio, updated, bias_value);
    }
};

// The output's gradient to the accumulator's, and to the bias's.
template <typename T, typename D>
struct GradientElement : ResultFactors {
    using Source = T;
    using Destination = D;
    using Channel = NoChannel;
    static constexpr bool kSums = true;
    bool applies_mask;

    GradientElement(const ResultReader& reader, bool applies)
        : ResultFactors{reader}, applies_mask(applies) {}
    __device__ __forceinline__ NoChannel channelOf(int /*channel*/) const { return {}; }
    template <int count>
    __device__ __forceinline__ void read(int64_t at, Factors<count>& factors) const {
        ResultFactors::read(at, false, factors);
    }
    __device__ __forceinline__ float value(float dy, float ratio, float updated, NoChannel /*none*/) const {
        return elementwise::accumulatorGradient(dy, ratio, updated, applies_mask);
    }
    __device__ __forceinline__ float term(float dy, float updated) const {
        return elementwise::biasGradient(dy, updated);
    }
};

}  // namespace pconv::cuda
