// The gradient of the bias, in f32: a workgroup adds up one channel's gradients times the updated mask, always in the
// same order.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "output_gradient.glsl"
#include "sum.glsl"

layout(binding = 3) restrict buffer GradBias {
    float grad_bias[];
};

const int kLanes = int(gl_WorkGroupSize.x);
shared float parts[kLanes];
shared float parts_lost[kLanes];

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int channel = push.c0 + int(gl_WorkGroupID.x);
    int outputs = push.rows * p.w.output_w;
    float sum = 0.0;
    float lost = 0.0;
    for (int n = push.n0; n < push.n0 + push.images; ++n)
        for (int at = lane; at < outputs; at += kLanes) {
            int row = push.row0 + at / p.w.output_w;
            int ow = at % p.w.output_w;
            float u = gainAt(n, channel, row, ow).y;
            float value = gradientAt(n, channel, row, ow) * u;
            addTo(sum, lost, u > 0.0 ? value : 0.0);
        }
    parts[lane] = sum;
    parts_lost[lane] = lost;
    barrier();
    for (int half_lanes = kLanes / 2; half_lanes > 0; half_lanes /= 2) {
        if (lane < half_lanes) {
            addTo(sum, lost, parts[lane + half_lanes]);
            lost += parts_lost[lane + half_lanes];
            parts[lane] = sum;
            parts_lost[lane] = lost;
        }
        barrier();
    }
    if (lane == 0) {
        int to = push.result_base + channel;
        grad_bias[to] = (push.add != 0 ? grad_bias[to] : 0.0) + (sum - lost);
    }
}
