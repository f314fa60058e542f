// The gradient of the bias, in f32: a workgroup adds up a part of one channel's gradients times the updated mask, always
// in the same order. give_gradient adds the parts up.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "output_gradient.glsl"
#include "walk.glsl"
#include "workgroup_sum.glsl"

layout(binding = 3) restrict buffer GradBias {
    float grad_bias[];  // [channels, parts]
};

void main() {
    int lanes = int(gl_WorkGroupSize.x);
    int lane = int(gl_LocalInvocationID.x);
    int channel = push.c0 + int(gl_WorkGroupID.x);
    int parts = int(gl_NumWorkGroups.y);
    int outputs = push.rows * p.w.output_w;  // of an image
    int steps_a_part = (push.images * outputs + lanes * parts - 1) / (lanes * parts);
    int begin = int(gl_WorkGroupID.y) * steps_a_part * lanes;
    int end = min(push.images * outputs, begin + steps_a_part * lanes);
    ivec2 size = ivec2(p.w.output_w, p.w.output_h);
    ivec3 step_ = placeOf(lanes, size);
    float sum = 0.0;
    float lost = 0.0;
    for (int image = begin / outputs; image * outputs < end; ++image) {
        int first = max(begin - image * outputs, 0) + lane;
        int last = min(end - image * outputs, outputs);
        ivec3 place = placeOf(push.row0 * p.w.output_w + first, size);
        for (int at = first; at < last; at += lanes) {
            float u = gainAt(push.n0 + image, channel, place).y;
            float value = gradientAt(push.n0 + image, channel, place) * u;
            addTo(sum, lost, u > 0.0 ? value : 0.0);
            place = advance(place, step_, size);
        }
    }
    sum = joinLanes(sum, lost);
    if (lane == 0) {
        int to = push.result_base + channel * parts + int(gl_WorkGroupID.y);
        grad_bias[to] = (push.add != 0 ? grad_bias[to] : 0.0) + sum;
    }
}
