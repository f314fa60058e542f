// Division by a number that the host knows: a product and a shift, where the machine's own takes some twenty
// instructions.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace pconv::cuda {

// Of dividends from 0 to 2^31 - 1. Granlund and Montgomery, Division by Invariant Integers using
// Multiplication, 1994.
struct Divisor {
    int value = 1;
    uint32_t magic = 1;
    int shift = 0;

    Divisor() = default;
    explicit Divisor(int divisor) : value(divisor) {
        while ((uint64_t{1} << shift) < static_cast<uint64_t>(divisor)) ++shift;
        const uint64_t excess = (uint64_t{1} << shift) - static_cast<uint64_t>(divisor);
        magic = static_cast<uint32_t>((excess << 32) / static_cast<uint64_t>(divisor) + 1);
    }
    __device__ __forceinline__ int quotient(int dividend) const {
        const auto n = static_cast<uint32_t>(dividend);
        const auto high = static_cast<uint32_t>(static_cast<uint64_t>(n) * magic >> 32);
        return static_cast<int>((high + n) >> shift);
    }
    // The quotient; `dividend` becomes the rest.
    __device__ __forceinline__ int divide(int& dividend) const {
        const int result = quotient(dividend);
        dividend -= result * value;
        return result;
    }
};

}  // namespace pconv::cuda
