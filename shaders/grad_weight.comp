// The gradient of the weights, in f32: a workgroup makes some output channels by four pairs of input channel and tap; its
// invocations share the outputs, and their parts are added up, always in the same order.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grad_weight.glsl"

const int kLanes = int(gl_WorkGroupSize.x);
layout(constant_id = SPEC_CHANNELS) const int kChannels = 8;
const int kPairs = 4;
const int kBlock = 32;  // terms added up plainly before they join the total
const int kTile = kChannels * kPairs;

shared float parts[MOST_SHARED_LANES * kTile];

float acc[kTile];
float total[kTile];
float lost[kTile];
int x_offset[kPairs];
int dz[kPairs], dy[kPairs], dx[kPairs], mask_plane[kPairs];

void flush() {
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        addTo(total[i], lost[i], acc[i]);
        acc[i] = 0.0;
    }
}

// The input at an element; where the mask is 0 it is replaced, not multiplied.
float loadMasked(bool wanted, int n, int plane, int iz, int iy, int ix, int at) {
    bool ok = wanted && iz >= 0 && iz < p.w.input_d && iy >= 0 && iy < p.w.input_h && ix >= 0 && ix < p.w.input_w;
    float m = 1.0;
    if (ok) m = maskAt(n, plane, iz, iy, ix);
    ok = ok && m != 0.0;
    float value = 0.0;
    if (ok) value = FROM_ELEMENT(x[at]);
    return p.scales_input != 0 ? value * m : value;
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int block = push.block0 + int(gl_WorkGroupID.y);
    int blocks_a_group = (p.group_out + kChannels - 1) / kChannels;
    int group = block / blocks_a_group;
    int in_group = block % blocks_a_group * kChannels;
    int first_pair = push.pair0 + int(gl_WorkGroupID.x) * kPairs;
    int taps = p.w.kernel_d * p.w.kernel_h * p.w.kernel_w;
    [[unroll]] for (int i = 0; i < kPairs; ++i) {
        int pair = min(first_pair + i, push.pair1 - 1);
        int channel = group * p.group_in + pair / taps;
        int tap = pair % taps;
        dz[i] = tap / (p.w.kernel_h * p.w.kernel_w) * p.w.dilation_d - p.w.padding_d;
        dy[i] = tap / p.w.kernel_w % p.w.kernel_h * p.w.dilation_h - p.w.padding_h;
        dx[i] = tap % p.w.kernel_w * p.w.dilation_w - p.w.padding_w;
        x_offset[i] = channel * push.stride_c + dz[i] * push.stride_d + dy[i] * push.stride_h + dx[i] * push.stride_w;
        mask_plane[i] = planeOf(channel);
    }
    // Channels outside this dispatch are read as others, and not written.
    int channel_at[kChannels];
    [[unroll]] for (int c = 0; c < kChannels; ++c)
        channel_at[c] = clamp(group * p.group_out + min(in_group + c, p.group_out - 1), push.c0, push.c1 - 1);
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        acc[i] = 0.0;
        total[i] = 0.0;
        lost[i] = 0.0;
    }
    int outputs = push.rows * p.w.output_w;
    int steps = (outputs + kLanes - 1) / kLanes;
    for (int n = push.n0; n < push.n0 + push.images; ++n) {
        int base = push.x_base + n * push.stride_n;
        for (int step = 0; step < steps; ++step) {
            int position = step * kLanes + lane;
            bool wanted = position < outputs;
            position = wanted ? position : 0;
            int row = push.row0 + position / p.w.output_w;
            int ow = position % p.w.output_w;
            int z0 = row / p.w.output_h * p.w.stride_d;
            int y0 = row % p.w.output_h * p.w.stride_h;
            int x0 = ow * p.w.stride_w;
            int at = base + z0 * push.stride_d + y0 * push.stride_h + x0 * push.stride_w;
            int from = push.sum_base +
                       ((n * p.w.output_d * p.w.output_h + row) * p.w.output_w + ow) * p.out_channels;
            float values[kPairs];
            [[unroll]] for (int i = 0; i < kPairs; ++i) 
                values[i] = loadMasked(wanted, n, mask_plane[i], z0 + dz[i], y0 + dy[i], x0 + dx[i], at + x_offset[i]);
            [[unroll]] for (int c = 0; c < kChannels; ++c) {
                float g = grad_sum[from + channel_at[c]];
                [[unroll]] for (int i = 0; i < kPairs; ++i) acc[c * kPairs + i] += g * values[i];
            }
            if (step % kBlock == kBlock - 1) flush();
        }
        flush();
    }
    [[unroll]] for (int i = 0; i < kTile; ++i) parts[i * kLanes + lane] = total[i];
    barrier();
    for (int half_lanes = kLanes / 2; half_lanes > 0; half_lanes /= 2) {
        for (int i = lane; i < kTile * half_lanes; i += kLanes) {
            int at = i / half_lanes * kLanes + i % half_lanes;
            parts[at] += parts[at + half_lanes];
        }
        barrier();
    }
    for (int i = lane; i < kTile; i += kLanes) {
        int channel = group * p.group_out + in_group + i / kPairs;
        int pair = first_pair + i % kPairs;
        if (in_group + i / kPairs < p.group_out && channel >= push.c0 && channel < push.c1 && pair < push.pair1) {
            int to = push.weight_base + channel * p.group_in * taps + pair;
            grad_weight[to] = (push.add != 0 ? grad_weight[to] : 0.0) + parts[i * kLanes];
        }
    }
}
