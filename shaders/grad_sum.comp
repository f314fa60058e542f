// The gradient of the convolution's sums, [N, D, H, W, C] in f32: that of the output times ratio and updated mask; 0 in
// holes, whatever is there.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "output_gradient.glsl"

layout(binding = 3) restrict writeonly buffer GradSum {
    float grad_sum[];
};

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.images * push.channel_count * push.rows * p.w.output_w) return;
    int ow = id % p.w.output_w;
    id /= p.w.output_w;
    int row = push.row0 + id % push.rows;
    id /= push.rows;
    int channel = push.c0 + id % push.channel_count;
    int n = push.n0 + id / push.channel_count;
    ivec3 place = ivec3(ow, row % p.w.output_h, row / p.w.output_h);
    vec2 r_u = gainAt(n, channel, place);
    float value = gradientAt(n, channel, place) * r_u.x;
    if (p.applies_mask != 0) value *= r_u.y;
    grad_sum[push.result_base +
             ((n * p.w.output_d * p.w.output_h + row) * p.w.output_w + ow) * p.out_channels + channel] =
        r_u.y > 0.0 ? value : 0.0;
}
