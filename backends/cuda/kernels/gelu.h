// GELU, for the CPU and for CUDA.
#pragma once

#include <cmath>

#include "host_device.h"

namespace pconv::elementwise {

// exp(-(high + low)) for 0 <= high < 87 and a low far smaller.
PCONV_BOTH float expOfMinus(float high, float low) {
    const float k = rintf(high * 0x1.715476p0F);
    // ln 2 in two parts; the first has so few bits that the product is exact.
    const float r = (high - k * 0x1.62ep-1F) - k * 0x1.0bfbe8p-15F + low;
    float e = 0.00139269268F;
    e = e * r - 0.00836377427F;
    e = e * r + 0.0416665487F;
    e = e * r - 0.166665733F;
    e = e * r + 0.5F;
    e = e * r - 1.0F;
    e = e * r + 1.0F;
    return ldexpf(e, -static_cast<int>(k));
}

// y times the normal distribution's Phi(y), from its tail Phi(-|y|) = exp(-y^2 / 2) t P(t) with
// t = 1 / (1 + 11/32 |y|), so that small results have all their digits; P is a minimax fit, good to 2^-25.
PCONV_BOTH float gelu(float y) {
    const float z = fabsf(y);
    if (!(z < 13)) return y * (y < 0 ? 0.0F : 1.0F);  // the tail is less than any normal number
    const float square = z * z;
    const float t = 1 / (1 + 0.34375F * z);
    float tail = -0.0282436572F;
    tail = tail * t + 0.145844832F;
    tail = tail * t - 0.275596172F;
    tail = tail * t + 0.195084423F;
    tail = tail * t - 0.0419913530F;
    tail = tail * t + 0.113719970F;
    tail = tail * t + 0.116489373F;
    tail = tail * t + 0.137574628F;
    tail = tail * t + 0.137117937F;
    tail *= t * expOfMinus(0.5F * square, 0.5F * fmaf(z, z, -square));
    return y * (y < 0 ? tail : 1 - tail);
}

}  // namespace pconv::elementwise
