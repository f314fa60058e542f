// y = activation(x * scale[c] + shift[c] + added); y may be x or what is added.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "gelu.glsl"
#include "pass_outputs.glsl"

layout(constant_id = SPEC_ACTIVATION) const int kActivation = 0;  // 1 ReLU, 2 leaky ReLU, 3 GELU, 4 the sigmoid

layout(binding = 0) readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) readonly buffer Added {
    ELEMENT added[];
};
layout(binding = 2) readonly buffer Scale {
    float scale[];
};
layout(binding = 3) readonly buffer Shift {
    float shift[];
};
layout(binding = 4) writeonly buffer Output {
    ELEMENT y[];
};

layout(push_constant) uniform Push {
    int size_c, size_d, size_h, size_w;  // of the box, at which the bases begin
    int x_n, x_c, x_d, x_h, x_w;
    int a_n, a_c, a_d, a_h, a_w;
    int y_n, y_c, y_d, y_h, y_w;
    int x_base, a_base, y_base, scale_base, shift_base;
    int scales, shifts, adds;  // 1 where there is one
    float negative_slope;
    int count;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    Place p = placeAt(id, ivec4(push.size_c, push.size_d, push.size_h, push.size_w));
    float value = FROM_ELEMENT(
        x[push.x_base + p.n * push.x_n + p.c * push.x_c + p.d * push.x_d + p.h * push.x_h + p.w * push.x_w]);
    if (push.scales != 0) value *= scale[push.scale_base + p.c];
    if (push.shifts != 0) value += shift[push.shift_base + p.c];
    if (push.adds != 0)
        value += FROM_ELEMENT(
            added[push.a_base + p.n * push.a_n + p.c * push.a_c + p.d * push.a_d + p.h * push.a_h + p.w * push.a_w]);
    if (kActivation == 1) value = max(value, 0.0);
    if (kActivation == 2) value = value < 0.0 ? value * push.negative_slope : value;
    if (kActivation == 3) value = gelu(value);
    if (kActivation == 4) value = 1.0 / (1.0 + exp(-value));
    y[push.y_base + p.n * push.y_n + p.c * push.y_c + p.d * push.y_d + p.h * push.y_h + p.w * push.y_w] =
        TO_ELEMENT(value);
}
