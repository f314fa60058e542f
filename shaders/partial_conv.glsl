// What partial_conv_direct and partial_conv_gemm share: bindings, the mask predicate, the epilogue.
#ifndef PARTIAL_CONV_GLSL
#define PARTIAL_CONV_GLSL

#include "window.glsl"

#ifdef STORAGE_F16
#define ELEMENT float16_t
#else
#define ELEMENT float
#endif

layout(binding = 0) restrict readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) restrict readonly buffer Weights {
    float weights[];
};
layout(binding = 1) restrict readonly buffer Weights4 {
    vec4 weights4[];
};
layout(binding = 2) restrict writeonly buffer Output {
    ELEMENT y[];
};
layout(binding = 3) restrict readonly buffer MaskBits {
    uint mask_bits[];
};
layout(binding = 3) restrict readonly buffer MaskValues {
    float mask_values[];
};
layout(binding = 4) restrict readonly buffer Ratio {
    float ratio[];
};
layout(binding = 5) restrict readonly buffer UpdatedMask {
    float updated_mask[];  // read where the mask is fractional
};
layout(binding = 6) restrict readonly buffer Runs {
    int runs[];  // [channels] the run a channel is in, then for every run: plane, first channel, end
};
layout(binding = 7) restrict readonly buffer Tiles {
    uint tiles[];
};
layout(binding = 8) uniform Params {
    WindowParams p;
    int group_in, group_out, channels;
    int blocks_a_group, block_stride;
    int ratio_groups;   // 1, or as many as the convolution has
    int activation;     // 0 none, 1 ReLU, 2 leaky ReLU
    float negative_slope;
    int has_bias;
    int u_from_ratio;   // the updated mask is 0 or 1: 1 where the ratio is not 0
};

layout(push_constant) uniform Push {
    int x_stride_n, x_stride_c, x_stride_d, x_stride_h, x_stride_w;
    int y_stride_n, y_stride_c, y_stride_d, y_stride_h, y_stride_w;
    int x_base, y_base;          // element at index 0 in the bound range; may lie before it
    int mask_base, mask_stride_n;  // words
    int ratio_base, updated_base;
    int mask_batched;            // 0: one image of the mask serves all
    int planes;
    int n0, block0;              // of this dispatch
    int first, end;              // tiles (direct) or outputs (gemm) of this dispatch
} push;

int maskImage(int n) {
    return push.mask_batched != 0 ? n : 0;
}

int maskRow(int n, int plane, int z, int y_row) {
    return push.mask_base + maskImage(n) * push.mask_stride_n +
           ((plane * p.input_d + z) * p.input_h + y_row) * p.row_words;
}

uint rowBits(int row, int x0) {
    int word = row + bitWord(x0, p.row_words);
    return joinBits(mask_bits[word], mask_bits[word + 1], x0);
}

int ratioIndex(int n, int group, int od, int oh, int ow) {
    return ((maskImage(n) * ratio_groups + (ratio_groups > 1 ? group : 0)) * p.output_d + od) * p.output_h *
               p.output_w + oh * p.output_w + ow;
}

// The output from the convolution's sum c: the ratio, the bias, the updated mask, the activation.
float finish(float c, float r, float u, float b) {
    float value = has_bias != 0 ? (c * r + b) * u : c * r;
    value = u > 0.0 ? value : 0.0;
    if (activation == 1) value = max(value, 0.0);
    if (activation == 2) value = value < 0.0 ? value * negative_slope : value;
    return value;
}

#endif
