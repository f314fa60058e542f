// Linear interpolation, in as many dimensions as change.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "pass_outputs.glsl"

layout(constant_id = SPEC_ALIGN_CORNERS) const int kAlignCorners = 0;

layout(binding = 0) readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) writeonly buffer Output {
    ELEMENT y[];
};

layout(push_constant) uniform Push {
    int begin_d, begin_h, begin_w;
    int size_c, size_d, size_h, size_w;  // of the box; in n and c the bases begin at it
    int x_n, x_c, x_d, x_h, x_w;
    int y_n, y_c, y_d, y_h, y_w;
    int x_base, y_base;
    int input_d, input_h, input_w;
    int step_d, step_h, step_w;  // an output is this many of the input's
    int per_d, per_h, per_w;     // parts further than the one before it
    int count;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    Place p = placeAt(id, ivec4(push.size_c, push.size_d, push.size_h, push.size_w));
    ivec3 o = ivec3(p.d + push.begin_d, p.h + push.begin_h, p.w + push.begin_w);
    ivec3 step = ivec3(push.step_d, push.step_h, push.step_w);
    ivec3 per = ivec3(push.per_d, push.per_h, push.per_w);
    // In whole numbers: where an output lies would else be off by more than what lies there.
    ivec3 at = kAlignCorners != 0 ? o * step : max((2 * o + 1) * step - per, ivec3(0));
    if (kAlignCorners == 0) per *= 2;
    ivec3 last = ivec3(push.input_d, push.input_h, push.input_w) - 1;
    ivec3 first = min(at / per, last);
    ivec3 second = min(first + 1, last);
    vec3 weight = vec3(at - first * per) / vec3(per);
    int from = push.x_base + p.n * push.x_n + p.c * push.x_c;
    float value = 0.0;
    for (int corner = 0; corner < 8; ++corner) {
        bvec3 far = bvec3((corner & 4) != 0, (corner & 2) != 0, (corner & 1) != 0);
        vec3 shares = mix(1.0 - weight, weight, far);
        float share = shares.x * shares.y * shares.z;
        if (share == 0.0) continue;
        ivec3 source = ivec3(far.x ? second.x : first.x, far.y ? second.y : first.y, far.z ? second.z : first.z);
        value += share * FROM_ELEMENT(x[from + source.x * push.x_d + source.y * push.x_h + source.z * push.x_w]);
    }
    y[push.y_base + p.n * push.y_n + p.c * push.y_c + p.d * push.y_d + p.h * push.y_h + p.w * push.y_w] =
        TO_ELEMENT(value);
}
