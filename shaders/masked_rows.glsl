// What the kernels of masked normalization share: x with its holes read as 0, and the mask.
#ifndef MASKED_ROWS_GLSL
#define MASKED_ROWS_GLSL

#include "element.glsl"
#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;
layout(constant_id = SPEC_MASK_KIND) const int kMaskKind = MASK_BITS;

layout(binding = 0) readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) restrict readonly buffer MaskBits {
    uint mask_bits[];
};
layout(binding = 1) restrict readonly buffer MaskValues {
    float mask_values[];
};
layout(binding = 2) restrict readonly buffer Runs {
    int runs[];  // as in partial_conv.glsl
};
layout(binding = 3) restrict readonly buffer Statistics {
    float statistics[];  // of the channels: means, counts, scales, shifts
};

layout(push_constant) uniform Push {
    int x_stride_n, x_stride_c, x_stride_d, x_stride_h, x_stride_w;
    int y_stride_n, y_stride_c, y_stride_d, y_stride_h, y_stride_w;
    int x_base, y_base;
    int mask_base, mask_stride_n, row_words;
    int depth, height, width;
    int channels;
    int n0, images;
    int row0, rows;
    int c0, channel_count;
    int deviations;  // 1: squares of deviations from the mean are added up
    int add;
} push;

float maskAt(int n, int c, int row, int column) {
    if (kMaskKind == MASK_NONE) return 1.0;
    int plane = runs[push.channels + 3 * runs[c]];
    int at = push.mask_base + n * push.mask_stride_n + (plane * push.depth * push.height + row) * push.row_words;
    if (kMaskKind == MASK_BITS)
        return float(mask_bits[at + MASK_MARGIN_WORDS + (column >> 5)] >> (uint(column) & 31u) & 1u);
    return mask_values[at + column];
}

float valueAt(int n, int c, int row, int column, float m) {
    float value = FROM_ELEMENT(x[push.x_base + n * push.x_stride_n + c * push.x_stride_c +
                                 row / push.height * push.x_stride_d + row % push.height * push.x_stride_h +
                                 column * push.x_stride_w]);
    return m != 0.0 ? value : 0.0;
}

#endif
