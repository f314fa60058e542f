// Masked spatial means, and how much of each channel is valid, from their sums.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "flat_grid.glsl"
#include "sum.glsl"

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
    int parts;        // sums of each
    int mask_count;   // of them that have an output mask
    int output_base, mask_base;
    float pixels;
    float eps;
} push;

void main() {
    int id = flatInvocation();
    if (id >= push.count) return;
    float total = 0.0;
    float total_lost = 0.0;
    float valid = 0.0;
    float valid_lost = 0.0;
    for (int part = 0; part < push.parts; ++part) {
        addTo(total, total_lost, sums[2 * (id * push.parts + part)]);
        addTo(valid, valid_lost, sums[2 * (id * push.parts + part) + 1]);
    }
    float divisor = valid + push.eps;
    if (id < push.mask_count) output_mask[push.mask_base + id] = valid / push.pixels;
    float mean = divisor == 0.0 ? 0.0 : total / divisor;
    y[push.output_base + id] = TO_ELEMENT(mean);
}
