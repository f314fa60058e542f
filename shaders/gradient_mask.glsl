// The mask under an input, and the settings: bindings 3 to 5 of both gradients, to be included behind the push constants.
#ifndef GRADIENT_MASK_GLSL
#define GRADIENT_MASK_GLSL

#include "gradient.glsl"

layout(binding = 3) restrict readonly buffer MaskBits {
    uint mask_bits[];
};
layout(binding = 3) restrict readonly buffer MaskValues {
    float mask_values[];
};
layout(binding = 4) restrict readonly buffer Runs {
    int runs[];
};
layout(binding = 5) uniform Params {
    GradientParams p;
};

float maskAt(int n, int plane, int z, int y, int x) {
    if (kMaskKind == MASK_NONE) return 1.0;
    int row = push.mask_base + n * push.mask_stride_n + ((plane * p.w.input_d + z) * p.w.input_h + y) * p.w.row_words;
    if (kMaskKind == MASK_BITS)
        return float(mask_bits[row + MASK_MARGIN_WORDS + (x >> 5)] >> (uint(x) & 31u) & 1u);
    return mask_values[row + x];
}

int planeOf(int channel) {
    return kMaskMulti != 0 ? runs[p.in_channels + 3 * runs[channel]] : 0;
}

#endif
