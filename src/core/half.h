// float to and from the 16-bit types, rounding to nearest even; portable, one element at a time.
#pragma once

#include <cstdint>
#include <cstring>

namespace pconv {

inline uint32_t bitsOf(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float floatOf(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

inline uint16_t bf16FromFloat(float value) {
    const uint32_t bits = bitsOf(value);
    if ((bits & 0x7FFFFFFFU) > 0x7F800000U)
        return static_cast<uint16_t>((bits >> 16) | 0x40U);  // NaN stays NaN
    return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

inline float floatFromBf16(uint16_t half) {
    return floatOf(static_cast<uint32_t>(half) << 16);
}

inline uint16_t f16FromFloat(float value) {
    const uint32_t bits = bitsOf(value);
    const uint32_t sign = (bits >> 16) & 0x8000U;
    const uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return static_cast<uint16_t>(sign | 0x7E00U);   // NaN
    if (magnitude >= 0x477FF000U) return static_cast<uint16_t>(sign | 0x7C00U);  // rounds to infinity
    if (magnitude < 0x38800000U) {
        // Subnormal: adding 0.5 leaves the value in units of 2^-24 in the low bits, rounded by the addition.
        const uint32_t rounded = bitsOf(floatOf(magnitude) + 0.5F) - 0x3F000000U;
        return static_cast<uint16_t>(sign | rounded);
    }
    const uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
    return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

inline float floatFromF16(uint16_t half) {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
    const uint32_t magnitude = half & 0x7FFFU;
    if (magnitude >= 0x7C00U) return floatOf(sign | 0x7F800000U | ((magnitude & 0x3FFU) << 13));
    if (magnitude < 0x400U) {
        const float value = static_cast<float>(magnitude) * 5.9604644775390625e-8F;  // 2^-24
        return floatOf(sign | bitsOf(value));
    }
    return floatOf(sign | ((magnitude << 13) + 0x38000000U));
}

}  // namespace pconv
