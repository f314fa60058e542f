// The gradient of the weights, in f32: a workgroup makes some output channels by four pairs of input channel and tap; its
// invocations share the outputs, and their parts are added up, always in the same order.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "gradient.glsl"
#include "sum.glsl"

const int kLanes = int(gl_WorkGroupSize.x);
layout(constant_id = SPEC_CHANNELS) const int kChannels = 8;
const int kPairs = 4;
const int kBlock = 32;  // terms added up plainly before they join the total
const int kTile = kChannels * kPairs;

layout(binding = 0) restrict readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 1) restrict readonly buffer GradSum {
    float grad_sum[];
};
layout(binding = 2) restrict buffer GradWeight {
    float grad_weight[];
};
layout(binding = 3) restrict readonly buffer MaskBits {
    uint mask_bits[];
};
layout(binding = 3) restrict readonly buffer MaskValues {
    float mask_values[];
};
layout(binding = 4) restrict readonly buffer Runs {
    int runs[];
};
layout(binding = 5) uniform Params {
    GradientParams p;
};

layout(push_constant) uniform Push {
    int stride_n, stride_c, stride_d, stride_h, stride_w;
    int x_base, sum_base, weight_base;
    int mask_base, mask_stride_n;
    int n0, images;
    int c0, c1;  // output channels of this dispatch
    int block0;
    int pair0, pair1;
    int row0, rows;
    int add;
} push;

shared float parts[kLanes * kTile];

float acc[kTile];
float total[kTile];
float lost[kTile];
int x_offset[kPairs];
int dz[kPairs], dy[kPairs], dx[kPairs], mask_plane[kPairs];

// Where the mask is 0 the input is replaced, not multiplied.
float loadMasked(int pair, bool wanted, int n, int at, int z0, int y0, int x0) {
    int iz = z0 + dz[pair];
    int iy = y0 + dy[pair];
    int ix = x0 + dx[pair];
    bool ok = wanted && iz >= 0 && iz < p.w.input_d && iy >= 0 && iy < p.w.input_h && ix >= 0 && ix < p.w.input_w;
    float m = 1.0;
    if (kMaskKind != MASK_NONE && ok) {
        int row = push.mask_base + n * push.mask_stride_n +
                  ((mask_plane[pair] * p.w.input_d + iz) * p.w.input_h + iy) * p.w.row_words;
        if (kMaskKind == MASK_BITS)
            m = float(mask_bits[row + MASK_MARGIN_WORDS + (ix >> 5)] >> (uint(ix) & 31u) & 1u);
        else
            m = mask_values[row + ix];
    }
    ok = ok && m != 0.0;
    float value = 0.0;
    if (ok) value = FROM_ELEMENT(x[at + x_offset[pair]]);
    return p.scales_input != 0 ? value * m : value;
}

void flush() {
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        addTo(total[i], lost[i], acc[i]);
        acc[i] = 0.0;
    }
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
        mask_plane[i] = kMaskMulti != 0 ? runs[p.in_channels + 3 * runs[channel]] : 0;
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
            [[unroll]] for (int i = 0; i < kPairs; ++i) values[i] = loadMasked(i, wanted, n, at, z0, y0, x0);
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
