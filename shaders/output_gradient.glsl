// The gradient of the output, and what the mask makes of it; bindings 0 to 2 and the push constants of its users.
#ifndef OUTPUT_GRADIENT_GLSL
#define OUTPUT_GRADIENT_GLSL

#include "gradient.glsl"

layout(binding = 0) restrict readonly buffer GradOutput {
    ELEMENT grad_output[];
};
layout(binding = 1) restrict readonly buffer Ratio {
    float ratio[];
};
layout(binding = 2) restrict readonly buffer UpdatedMask {
    float updated_mask[];
};
layout(binding = 4) uniform Params {
    GradientParams p;
};

layout(push_constant) uniform Push {
    int stride_n, stride_c, stride_d, stride_h, stride_w;
    int grad_base, result_base;
    int ratio_base, updated_base;
    int mask_batched;
    int n0, images;
    int c0, channel_count;
    int row0, rows;  // of D * H
    int add;
} push;

// Ratio and updated mask; `place` is column, row and plane.
vec2 gainAt(int n, int channel, ivec3 place) {
    if (p.gain == GAIN_ONE) return vec2(1.0);
    int image = push.mask_batched != 0 ? n : 0;
    int mask_group = channel / (p.out_channels / p.ratio_groups);
    int at = (((image * p.ratio_groups + mask_group) * p.w.output_d + place.z) * p.w.output_h + place.y) * p.w.output_w +
             place.x;
    if (p.gain == GAIN_CHANNELS) return vec2(1.0, updated_mask[push.updated_base + at]);
    float r = ratio[push.ratio_base + at];
    return vec2(r, p.gain == GAIN_RATIO ? (r > 0.0 ? 1.0 : 0.0) : updated_mask[push.updated_base + at]);
}

float gradientAt(int n, int channel, ivec3 place) {
    return FROM_ELEMENT(grad_output[push.grad_base + n * push.stride_n + channel * push.stride_c +
                                    place.z * push.stride_d + place.y * push.stride_h + place.x * push.stride_w]);
}

#endif
