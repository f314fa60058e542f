// What the kernels of the input's gradient share: bindings, the mask, how a finished sum is given.
#ifndef GRAD_INPUT_GLSL
#define GRAD_INPUT_GLSL

#include "gradient.glsl"
#include "sum.glsl"

layout(binding = 0) restrict readonly buffer GradSum {
    float grad_sum[];
};
layout(binding = 0) restrict readonly buffer GradSum4 {
    vec4 grad_sum4[];
};
layout(binding = 1) restrict readonly buffer Turned {
    float turned[];
};
layout(binding = 1) restrict readonly buffer Turned4 {
    vec4 turned4[];
};
layout(binding = 2) restrict buffer GradInput {
    ELEMENT grad_input[];
};

layout(push_constant) uniform Push {
    int stride_n, stride_c, stride_d, stride_h, stride_w;
    int grad_base, sum_base;
    int mask_base, mask_stride_n;
    int n0;
    int c0, c1;  // channels of this dispatch
    int block0, block_stride;  // floats of a block of turned weights
    int row0, rows;            // of D * H
    int accumulate;
} push;

#include "gradient_mask.glsl"

// x / y rounded down, y positive.
int floorDivide(int x, int y) {
    return x >= 0 ? x / y : -((y - 1 - x) / y);
}

// The mask selects, so that no garbage of a hole's sum is given.
void giveInput(int n, int channel, int plane, int iz, int iy, int ix, float sum) {
    float m = maskAt(n, plane, iz, iy, ix);
    if (p.scales_input != 0) sum *= m;
    sum = m != 0.0 ? sum : 0.0;
    int to = push.grad_base + n * push.stride_n + channel * push.stride_c + iz * push.stride_d + iy * push.stride_h +
             ix * push.stride_w;
    if (push.accumulate != 0) sum += FROM_ELEMENT(grad_input[to]);
    grad_input[to] = TO_ELEMENT(sum);
}

#endif
