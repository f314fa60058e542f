// Brings finished sums into a gradient, or adds them to what is there. Sums in parts are added up first, in their order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "specialization.h"
#include "sum.glsl"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) restrict readonly buffer Sums {
    float sums[];
};
layout(binding = 1) restrict buffer Gradient {
    ELEMENT gradient[];
};

layout(push_constant) uniform Push {
    int row0, rows;
    int first, count;   // of a row
    int parts, row_length;
    int sums_base, gradient_base;
    int accumulate;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.rows * push.count) return;
    int row = push.row0 + id / push.count;
    int column = push.first + id % push.count;
    float value = 0.0;
    float lost = 0.0;
    for (int part = 0; part < push.parts; ++part)
        addTo(value, lost, sums[push.sums_base + (row * push.parts + part) * push.row_length + column]);
    int to = push.gradient_base + row * push.row_length + column;
    if (push.accumulate != 0) value += FROM_ELEMENT(gradient[to]);
    gradient[to] = TO_ELEMENT(value);
}
