// A number as the unevaluated sum of two floats: some 48 bits, where float64 is a 64th of a GPU's rate. What
// overflows a float becomes infinite or NaN in `high`.
#pragma once

#include "ptx.cuh"

namespace pconv::cuda {

struct FloatPair {
    float high, low;

    // Knuth, The Art of Computer Programming 2, 4.2.2: the sum and what rounding took from it.
    __device__ __forceinline__ static FloatPair sum(float a, float b) {
        const float high = sumRounded(a, b);
        const float rest = sumRounded(high, -a);
        return {high, sumRounded(sumRounded(a, -sumRounded(high, -rest)), sumRounded(b, -rest))};
    }
    __device__ __forceinline__ static FloatPair product(float a, float b) {
        const float high = productRounded(a, b);
        return {high, multiplyAdd(a, b, -high)};
    }
    __device__ __forceinline__ static FloatPair of(double value) {
        const FloatPair rounded{static_cast<float>(value), 0};
        if (!rounded.isFinite()) return rounded;
        return {rounded.high, static_cast<float>(value - static_cast<double>(rounded.high))};
    }
    __device__ __forceinline__ FloatPair operator-(const FloatPair& other) const {
        const FloatPair difference = sum(high, -other.high);
        // The parts may have cancelled to the size of their rests.
        return sum(difference.high, sumRounded(difference.low, sumRounded(low, -other.low)));
    }
    __device__ __forceinline__ FloatPair operator*(const FloatPair& other) const {
        const FloatPair both = product(high, other.high);
        return {both.high, multiplyAdd(high, other.low, multiplyAdd(low, other.high, both.low))};
    }
    __device__ __forceinline__ void operator+=(const FloatPair& other) {
        const FloatPair both = sum(high, other.high);
        high = both.high;
        low = sumRounded(low, sumRounded(both.low, other.low));
    }
    __device__ __forceinline__ bool isFinite() const { return sumRounded(high, -high) == 0; }
    __device__ __forceinline__ double value() const {
        return static_cast<double>(high) + static_cast<double>(low);
    }
};

}  // namespace pconv::cuda
