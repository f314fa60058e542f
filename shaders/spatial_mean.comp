// Masked spatial means, and how much of each channel is valid, from their sums.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) restrict readonly buffer Sums {
    float sums[];
};
layout(binding = 1) restrict writeonly buffer Output {
    ELEMENT y[];
};
layout(binding = 2) restrict writeonly buffer OutputMask {
    float output_mask[];
};

layout(push_constant) uniform Push {
    int count;        // means
    int mask_count;   // of them that have an output mask
    int output_base, mask_base;
    float pixels;
    float eps;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    float valid = sums[2 * id + 1];
    float divisor = valid + push.eps;
    if (id < push.mask_count) output_mask[push.mask_base + id] = valid / push.pixels;
    float mean = divisor == 0.0 ? 0.0 : sums[2 * id] / divisor;
    y[push.output_base + id] = TO_ELEMENT(mean);
}
