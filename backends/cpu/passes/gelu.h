// GELU of a vector; for files built once per instruction set, as cpu_vector.h is.
#pragma once

#include "cpu/passes/vector.h"

namespace pconv::cpu {

namespace {

template <int count>
PCONV_INLINE Vec polynomial(Vec x, const float (&coefficients)[count]) {
    Vec sum = Vec{} + coefficients[0];
    for (int i = 1; i < count; ++i) sum = sum * x + coefficients[i];
    return sum;
}

// exp(-(high + low)) for 0 <= high < 87 and a low far smaller.
PCONV_INLINE Vec expOfMinus(Vec high, Vec low) {
    constexpr float kRounds = 0x1.8p23F;  // added to a number, leaves its integer in the lowest bits
    const Vec shifted = high * 0x1.715476p0F + kRounds;
    const Vec k = shifted - kRounds;
    // ln 2 in two parts; the first has so few bits that the product is exact.
    const Vec r = (high - k * 0x1.62ep-1F) - k * 0x1.0bfbe8p-15F + low;
    constexpr float kExp[] = {0.00139269268F, -0.00836377427F, 0.0416665487F, -0.166665733F,
                              0.5F,           -1.0F,           1.0F};
    const Bits exponent = (127 - (reinterpret_cast<Bits>(shifted) - 0x4B400000)) << 23;
    return polynomial(r, kExp) * reinterpret_cast<Vec>(exponent);
}

// y times the normal distribution's Phi(y), from its tail Phi(-|y|) = exp(-y^2 / 2) t P(t) with
// t = 1 / (1 + 11/32 |y|), so that small results have all their digits; P is a minimax fit, good to 2^-25.
PCONV_INLINE Vec gelu(Vec y) {
    const Vec magnitude = reinterpret_cast<Vec>(reinterpret_cast<Bits>(y) & 0x7FFFFFFF);
    const Bits near = magnitude < 13.0F;  // beyond, the tail is less than any normal number
    const Vec z = select(magnitude, near);
    const Vec head = reinterpret_cast<Vec>(reinterpret_cast<Bits>(z) & ~0xFFF);  // its square is exact
    const Vec t = 1.0F / (1.0F + 0.34375F * z);
    constexpr float kTail[] = {-0.0282436572F, 0.145844832F, -0.275596172F, 0.195084423F, -0.0419913530F,
                               0.113719970F,   0.116489373F, 0.137574628F,  0.137117937F};
    const Vec gauss = expOfMinus(0.5F * head * head, 0.5F * (z - head) * (z + head));
    const Vec tail = select(gauss * (t * polynomial(t, kTail)), near);
    const Bits negative = y < 0.0F;
    return y * reinterpret_cast<Vec>((reinterpret_cast<Bits>(1.0F - tail) & ~negative) |
                                     (reinterpret_cast<Bits>(tail) & negative));
}

}  // namespace

}  // namespace pconv::cpu
