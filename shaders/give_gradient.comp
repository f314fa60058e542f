// Brings finished sums into a gradient, or adds them to what is there.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) restrict readonly buffer Sums {
    float sums[];
};
layout(binding = 1) restrict buffer Gradient {
    ELEMENT gradient[];
};

layout(push_constant) uniform Push {
    int first, count;
    int sums_base, gradient_base;
    int accumulate;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    float value = sums[push.sums_base + push.first + id];
    int to = push.gradient_base + push.first + id;
    if (push.accumulate != 0) value += FROM_ELEMENT(gradient[to]);
    gradient[to] = TO_ELEMENT(value);
}
