// What the kernels of partial convolution share: bindings, the mask predicate, the epilogue.
#ifndef PARTIAL_CONV_GLSL
#define PARTIAL_CONV_GLSL

#include "element.glsl"
#include "gelu.glsl"
#include "window.glsl"

#define MASK_BINDING 3
#define RUNS_BINDING 6
#include "mask_planes.glsl"

layout(constant_id = SPEC_GELU) const int kGelu = 0;

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
layout(binding = 4) restrict readonly buffer Ratio {
    float ratio[];
};
layout(binding = 5) restrict readonly buffer UpdatedMask {
    float updated_mask[];  // read where the gain asks for it
};
layout(binding = 8) uniform Params {
    WindowParams p;
    int group_in, group_out, channels;
    int blocks_a_group, block_stride;
    int ratio_groups;   // channels of ratio and updated mask: 1, the convolution's groups or its output channels
    int activation;     // 0 none, 1 ReLU, 2 leaky ReLU; GELU is a constant
    float negative_slope;
    int applies_mask;   // (c * r + bias) * u, else c * r
    int gain;           // one of the GAIN_ values
};

layout(push_constant) uniform Push {
    int x_stride_n, x_stride_c, x_stride_d, x_stride_h, x_stride_w;
    int y_stride_n, y_stride_c, y_stride_d, y_stride_h, y_stride_w;
    int x_base, y_base;          // element at index 0 in the bound range; may lie before it
    int mask_base, mask_stride_n;  // words
    int ratio_base, updated_base;
    int mask_batched;            // 0: one image of the mask serves all
    int planes;
    int n0, images, block0;      // of this dispatch
    int first, end;              // tiles (direct) or outputs (products) of an image that this dispatch makes
    int parts, part_depth;       // where a product's depth is cut
} push;

int maskImage(int n) {
    return push.mask_batched != 0 ? n : 0;
}

int maskRow(int n, int plane, int z, int y_row) {
    return push.mask_base + maskImage(n) * push.mask_stride_n +
           ((plane * p.input_d + z) * p.input_h + y_row) * p.row_words;
}

int ratioIndex(int n, int group, int channel, int od, int oh, int ow) {
    int mask_group = ratio_groups == 1 ? 0 : gain == GAIN_CHANNELS ? channel : group;
    return ((maskImage(n) * ratio_groups + mask_group) * p.output_d + od) * p.output_h * p.output_w +
           oh * p.output_w + ow;
}

// Ratio and updated mask of an output.
vec2 gainAt(int n, int group, int channel, int od, int oh, int ow) {
    if (gain == GAIN_ONE) return vec2(1.0);
    int at = ratioIndex(n, group, channel, od, oh, ow);
    if (gain == GAIN_CHANNELS) return vec2(1.0, updated_mask[push.updated_base + at]);
    float r = ratio[push.ratio_base + at];
    return vec2(r, gain == GAIN_RATIO ? (r > 0.0 ? 1.0 : 0.0) : updated_mask[push.updated_base + at]);
}

// The output from the convolution's sum c: the ratio, the bias, the updated mask, the activation.
float finish(float c, vec2 r_u, float b) {
    float value = applies_mask != 0 ? (c * r_u.x + b) * r_u.y : c * r_u.x;
    value = r_u.y > 0.0 ? value : 0.0;
    if (activation == 1) value = max(value, 0.0);
    if (activation == 2) value = value < 0.0 ? value * negative_slope : value;
    if (kGelu != 0) value = gelu(value);
    return value;
}

#endif
