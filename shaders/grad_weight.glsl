// What the kernels of the weights' gradient share: bindings and settings.
#ifndef GRAD_WEIGHT_GLSL
#define GRAD_WEIGHT_GLSL

#include "gradient.glsl"
#include "sum.glsl"

layout(binding = 0) restrict readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) restrict readonly buffer GradSum {
    float grad_sum[];
};
layout(binding = 1) restrict readonly buffer GradSum4 {
    vec4 grad_sum4[];
};
layout(binding = 2) restrict buffer GradWeight {
    float grad_weight[];
};

layout(push_constant) uniform Push {
    int stride_n, stride_c, stride_d, stride_h, stride_w;
    int x_base, sum_base, weight_base;
    int mask_base, mask_stride_n;
    int n0, images;
    int c0, c1;        // output channels of this dispatch
    int block0;
    int pair0, pair1;  // of input channels and taps, in whole channels
    int row0, rows;    // of D * H
    int add;
} push;

#include "gradient_mask.glsl"

#endif
