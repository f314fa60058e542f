// The arithmetic on single elements, written once for the CPU and for CUDA.
#pragma once

#include "backend.h"
#include "gelu.h"

namespace pconv::elementwise {

struct WindowResult {
    float updated, ratio;
};

// Of one window sum; window: the sum of a full window.
PCONV_BOTH WindowResult windowResult(float sum, float window, float eps, Normalization normalization) {
    if (!(sum > 0)) return {0, 0};
    if (normalization == Normalization::mask_sum) return {1, 1 / sum};
    const float updated = sum < 1 ? sum : 1;
    return {updated, window / (sum + eps) * updated};
}

// Of all activations but GELU.
PCONV_BOTH float rectify(float y, Activation activation, float negative_slope) {
    if (y >= 0 || activation == Activation::none) return y;
    return activation == Activation::relu ? (y < 0 ? 0 : y) : negative_slope * y;
}

PCONV_BOTH float activate(float y, Activation activation, float negative_slope) {
    return activation == Activation::gelu ? gelu(y) : rectify(y, activation, negative_slope);
}

// From the raw accumulator to the output.
struct Epilogue {
    bool applies_mask;  // (c r + b) u; else c r, where the mask is in the ratio alone
    Activation activation;
    float negative_slope;

    PCONV_BOTH float operator()(float c, float ratio, float updated, float bias) const {
        return updated == 0 ? 0 : activate(linear(c, ratio, updated, bias), activation, negative_slope);
    }
    // The same where the activation is not GELU.
    PCONV_BOTH float rectified(float c, float ratio, float updated, float bias) const {
        return updated == 0 ? 0 : rectify(linear(c, ratio, updated, bias), activation, negative_slope);
    }
    PCONV_BOTH float linear(float c, float ratio, float updated, float bias) const {
        return applies_mask ? (c * ratio + bias) * updated : c * ratio;
    }
};

// From the output's gradient to the accumulator's.
PCONV_BOTH float accumulatorGradient(float dy, float ratio, float updated, bool applies_mask) {
    if (updated == 0) return 0;
    return applies_mask ? dy * ratio * updated : dy * ratio;
}

// The output's gradient to the bias's.
PCONV_BOTH float biasGradient(float dy, float updated) {
    return updated == 0 ? 0 : dy * updated;
}

// x under the mask: where m is 0, x is not looked at.
PCONV_BOTH float masked(float x, float m) {
    return m == 0 ? 0 : x * m;
}

}  // namespace pconv::elementwise
