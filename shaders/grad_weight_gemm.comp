// The gradient of the weights as a matrix product, the gradient of the sums [output channels, outputs] by the input
// windows [outputs, (tap, input channel)]: a workgroup makes a tile of the product from slices in shared memory, for one
// of the parts into which the outputs are cut.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grad_weight.glsl"

layout(constant_id = SPEC_BLOCK_M) const int kBlockM = 64;
layout(constant_id = SPEC_BLOCK_N) const int kBlockN = 64;
layout(constant_id = SPEC_BLOCK_K) const int kBlockK = 16;
layout(constant_id = SPEC_THREAD_M) const int kThreadM = 4;
layout(constant_id = SPEC_THREAD_N) const int kThreadN = 4;
const int kThreadsN = kBlockN / kThreadN;
const int kLanes = kBlockM / kThreadM * kThreadsN;
// Slices are loaded whole: kBlockK and kBlockN divide kLanes, which divides both slices.
const int kLoadsA = kBlockM * kBlockK / kLanes;
const int kLoadsB = kBlockN * kBlockK / kLanes;
const int kStrideB = kBlockN + 2;  // so that lanes that store 16 rows of two columns meet no bank twice
const int kSlices = 2;             // whose products are added up plainly before they join the sum
const int kNowhere = -0x40000000;

shared float slice_a[kBlockK * kBlockM];
shared float slice_b[kBlockK * kStrideB];
// What the tile's columns read, from a window's origin, and where the windows of two slices lie.
shared int pair_offset[kBlockN], pair_z[kBlockN], pair_y[kBlockN], pair_x[kBlockN], pair_plane[kBlockN];
shared int window_sum[2 * kBlockK], window_offset[2 * kBlockK], window_n[2 * kBlockK], window_z[2 * kBlockK],
    window_y[2 * kBlockK], window_x[2 * kBlockK];

const int kTile = kThreadM * kThreadN;
float acc[kTile];
float total[kTile];
float lost[kTile];

// Pairs run over taps, then channels: neighbours lie together where channels do.
int first_channel, channels, taps;

void decodePair(int i, int group) {
    int pair = int(gl_WorkGroupID.x) * kBlockN + i;
    bool wanted = pair < taps * channels;
    int tap = wanted ? pair / channels : 0;
    int channel = group * p.group_in + first_channel + (wanted ? pair % channels : 0);
    int z = tap / p.w.kernel_w / p.w.kernel_h * p.w.dilation_d;
    int y = tap / p.w.kernel_w % p.w.kernel_h * p.w.dilation_h;
    int x = tap % p.w.kernel_w * p.w.dilation_w;
    pair_offset[i] = channel * push.stride_c + z * push.stride_d + y * push.stride_h + x * push.stride_w;
    pair_z[i] = wanted ? z : kNowhere;
    pair_y[i] = y;
    pair_x[i] = x;
    pair_plane[i] = planeOf(channel);
}

void decodeWindow(int slot, int output_, int end) {
    bool wanted = output_ < end;
    int at = wanted ? output_ : 0;
    int ow = at % p.w.output_w;
    int row = push.row0 + at / p.w.output_w % push.rows;
    int n = push.n0 + at / p.w.output_w / push.rows;
    int z = row / p.w.output_h * p.w.stride_d - p.w.padding_d;
    int y = row % p.w.output_h * p.w.stride_h - p.w.padding_h;
    int x = ow * p.w.stride_w - p.w.padding_w;
    window_sum[slot] = wanted ? push.sum_base + ((n * p.w.output_d * p.w.output_h + row) * p.w.output_w + ow) * p.out_channels
                              : kNowhere;
    window_offset[slot] = push.x_base + n * push.stride_n + z * push.stride_d + y * push.stride_h + x * push.stride_w;
    window_n[slot] = n;
    window_z[slot] = wanted ? z : kNowhere;
    window_y[slot] = y;
    window_x[slot] = x;
}

float loadWindow(int slot, int pair) {
    return loadMasked(true, window_n[slot], pair_plane[pair], window_z[slot] + pair_z[pair],
                      window_y[slot] + pair_y[pair], window_x[slot] + pair_x[pair],
                      window_offset[slot] + pair_offset[pair]);
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
    int blocks_a_group = (p.group_out + kBlockM - 1) / kBlockM;
    int group = block / blocks_a_group;
    int first = group * p.group_out + block % blocks_a_group * kBlockM;
    int end_channel = min((group + 1) * p.group_out, push.c1);
    taps = p.w.kernel_d * p.w.kernel_h * p.w.kernel_w;
    first_channel = push.pair0 / taps;
    channels = (push.pair1 - push.pair0) / taps;

    // The outputs of this part: whole slices, but for the last.
    int outputs = push.images * push.rows * p.w.output_w;
    int slices = (outputs + kBlockK - 1) / kBlockK;
    int slices_a_part = (slices + int(gl_NumWorkGroups.z) - 1) / int(gl_NumWorkGroups.z);
    int begin = int(gl_WorkGroupID.z) * slices_a_part * kBlockK;
    int end = min(outputs, begin + slices_a_part * kBlockK);

    for (int i = lane; i < kBlockN; i += kLanes) decodePair(i, group);
    for (int i = lane; i < kBlockK; i += kLanes) decodeWindow(i, begin + i, end);
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        acc[i] = 0.0;
        total[i] = 0.0;
        lost[i] = 0.0;
    }
    barrier();

    // Lanes run over what lies together in memory: channels, or else outputs.
    bool channels_last = push.stride_c == 1 && push.stride_w != 1;
    int row_m = lane / kThreadsN * kThreadM;
    int column_n = lane % kThreadsN;
    int slot = 0;
    for (int k0 = begin; k0 < end; k0 += kBlockK) {
        [[unroll]] for (int i = 0; i < kLoadsA; ++i) {
            int at = lane + i * kLanes;
            int from = window_sum[slot + at / kBlockM];
            int channel = first + at % kBlockM;
            float value = 0.0;
            if (from != kNowhere && channel >= push.c0 && channel < end_channel) value = grad_sum[from + channel];
            slice_a[at] = value;
        }
        [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
            int at = lane + i * kLanes;
            int row = channels_last ? at / kBlockN : at % kBlockK;
            int pair = channels_last ? at % kBlockN : at / kBlockK;
            slice_b[row * kStrideB + pair] = loadWindow(slot + row, pair);
        }
        barrier();
        slot = kBlockK - slot;
        for (int i = lane; i < kBlockK; i += kLanes) decodeWindow(slot + i, k0 + kBlockK + i, end);
        for (int k = 0; k < kBlockK; ++k) {
            float a[kThreadM];
            float b[kThreadN];
            [[unroll]] for (int i = 0; i < kThreadM; ++i) a[i] = slice_a[k * kBlockM + row_m + i];
            [[unroll]] for (int j = 0; j < kThreadN; ++j) b[j] = slice_b[k * kStrideB + column_n + j * kThreadsN];
            [[unroll]] for (int i = 0; i < kThreadM; ++i)
                [[unroll]] for (int j = 0; j < kThreadN; ++j) acc[i * kThreadN + j] += a[i] * b[j];
        }
        barrier();
        if ((k0 - begin) / kBlockK % kSlices == kSlices - 1) flush();
    }
    flush();

    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        int pair = int(gl_WorkGroupID.x) * kBlockN + column_n + j * kThreadsN;
        if (pair < taps * channels)
            [[unroll]] for (int i = 0; i < kThreadM; ++i) {
                int channel = first + row_m + i;
                if (channel >= push.c0 && channel < end_channel) {
                    int part = channel * int(gl_NumWorkGroups.z) + int(gl_WorkGroupID.z);
                    int to = push.weight_base + (part * p.group_in + first_channel + pair % channels) * taps +
                             pair / channels;
                    grad_weight[to] = (push.add != 0 ? grad_weight[to] : 0.0) + total[i * kThreadN + j];
                }
            }
    }
}
