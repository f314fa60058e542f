// The gradient of the input: every input gathers what the windows over it carry back, then the mask selects. An
// invocation makes some channels of four inputs one stride apart, which the same taps reach.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grad_input.glsl"

layout(constant_id = SPEC_CHANNELS) const int kChannels = 8;
const int kPixels = 4;
const int kBlock = 16;  // products added up plainly before they join the sum

float acc[kChannels * kPixels];
float total[kChannels * kPixels];
float lost[kChannels * kPixels];

void main() {
    int id = int(gl_GlobalInvocationID.x);
    int units_a_phase = ((p.w.input_w + p.w.stride_w - 1) / p.w.stride_w + kPixels - 1) / kPixels;
    int units_a_row = min(p.w.stride_w, p.w.input_w) * units_a_phase;
    if (id >= push.rows * units_a_row) return;
    int block = push.block0 + int(gl_WorkGroupID.y);
    int n = push.n0 + int(gl_WorkGroupID.z);
    int blocks_a_group = (p.group_in + kChannels - 1) / kChannels;
    int group = block / blocks_a_group;
    int row = push.row0 + id / units_a_row;
    int unit = id % units_a_row;
    int iz = row / p.w.input_h;
    int iy = row % p.w.input_h;
    int ix0 = unit / units_a_phase + unit % units_a_phase * kPixels * p.w.stride_w;
    [[unroll]] for (int i = 0; i < kChannels * kPixels; ++i) {
        acc[i] = 0.0;
        total[i] = 0.0;
        lost[i] = 0.0;
    }

    for (int kz = 0; kz < p.w.kernel_d; ++kz) {
        int z = iz + p.w.padding_d - kz * p.w.dilation_d;
        int od = floorDivide(z, p.w.stride_d);
        if (od * p.w.stride_d != z || od < 0 || od >= p.w.output_d) continue;
        for (int ky = 0; ky < p.w.kernel_h; ++ky) {
            int y = iy + p.w.padding_h - ky * p.w.dilation_h;
            int oh = floorDivide(y, p.w.stride_h);
            if (oh * p.w.stride_h != y || oh < 0 || oh >= p.w.output_h) continue;
            for (int kx = 0; kx < p.w.kernel_w; ++kx) {
                int x = ix0 + p.w.padding_w - kx * p.w.dilation_w;
                int ow0 = floorDivide(x, p.w.stride_w);
                if (ow0 * p.w.stride_w != x || ow0 <= -kPixels || ow0 >= p.w.output_w) continue;
                int from = push.sum_base +
                           (((n * p.w.output_d + od) * p.w.output_h + oh) * p.w.output_w + ow0) * p.out_channels +
                           group * p.group_out;
                int weight_at = int(gl_WorkGroupID.y) * push.block_stride +
                                ((kz * p.w.kernel_h + ky) * p.w.kernel_w + kx) * p.group_out * kChannels;
                int at[kPixels];
                bool ok[kPixels];
                [[unroll]] for (int i = 0; i < kPixels; ++i) {
                    ok[i] = ow0 + i >= 0 && ow0 + i < p.w.output_w;
                    at[i] = ok[i] ? from + i * p.out_channels : from + clamp(-ow0, 0, kPixels - 1) * p.out_channels;
                }
                for (int co = 0; co < p.group_out; ++co) {
                    float v[kPixels];
                    [[unroll]] for (int i = 0; i < kPixels; ++i) {
                        v[i] = grad_sum[at[i] + co];
                        v[i] = ok[i] ? v[i] : 0.0;
                    }
                    float w[kChannels];
                    if (kChannels >= 4) {
                        [[unroll]] for (int c = 0; c < kChannels / 4; ++c) {
                            vec4 four = turned4[(weight_at + co * kChannels) / 4 + c];
                            [[unroll]] for (int j = 0; j < 4; ++j) w[4 * c + j] = four[j];
                        }
                    } else {
                        [[unroll]] for (int c = 0; c < kChannels; ++c) w[c] = turned[weight_at + co * kChannels + c];
                    }
                    [[unroll]] for (int c = 0; c < kChannels; ++c)
                        [[unroll]] for (int i = 0; i < kPixels; ++i) acc[c * kPixels + i] += w[c] * v[i];
                    if (co % kBlock == kBlock - 1 || co == p.group_out - 1)
                        [[unroll]] for (int i = 0; i < kChannels * kPixels; ++i) {
                            addTo(total[i], lost[i], acc[i]);
                            acc[i] = 0.0;
                        }
                }
            }
        }
    }

    int first = group * p.group_in + block % blocks_a_group * kChannels;
    int count = min(kChannels, p.group_in - block % blocks_a_group * kChannels);
    for (int c = 0; c < count; ++c) {
        int channel = first + c;
        if (channel < push.c0 || channel >= push.c1) continue;
        int plane = planeOf(channel);
        [[unroll]] for (int i = 0; i < kPixels; ++i) {
            float sum = total[i];
            [[unroll]] for (int j = 1; j < kChannels; ++j) sum = j == c ? total[j * kPixels + i] : sum;
            int ix = ix0 + i * p.w.stride_w;
            if (ix < p.w.input_w) giveInput(n, channel, plane, iz, iy, ix, sum);
        }
    }
}
