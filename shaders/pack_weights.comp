// Packs weights [Cout, Cin / G, K...] and bias into blocks of output channels of one group: the block's biases, then for
// every kernel plane, kernel row, input channel and kernel column the block's weights; 0 where there is none. PACKED_HALVES
// packs f16 as it is, in slices of depth: of each slice every channel's weights beside each other.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "flat_grid.glsl"

layout(binding = 0) restrict readonly buffer Weight {
    ELEMENT weight[];
};
layout(binding = 1) restrict readonly buffer Bias {
    ELEMENT bias[];
};
layout(binding = 2) restrict writeonly buffer Packed {
    uint packed[];
};

layout(push_constant) uniform Push {
    int block0, block_count;  // this dispatch's blocks
    int block_channels;       // output channels of a block
    int block_stride;         // floats from block to block
    int blocks_a_group;
    int group_in, group_out;  // channels of a group
    int taps_dh, taps_w;
    int weight_base, bias_base;  // element of output channel 0, in the bound range
    int has_bias;
    int slice_depth;  // of PACKED_HALVES
} push;

int channelOf(int block, int in_group) {
    return block / push.blocks_a_group * push.group_out + in_group;
}

// Where the weight of a block's channel at a place of depth lies; -1 where there is none.
int weightIndex(int block, int of_block, int k) {
    int in_group = block % push.blocks_a_group * push.block_channels + of_block;
    if (in_group >= push.group_out || k >= push.taps_dh * push.group_in * push.taps_w) return -1;
    int kx = k % push.taps_w;
    int in_channel = k / push.taps_w % push.group_in;
    int kzy = k / push.taps_w / push.group_in;
    return push.weight_base +
           ((channelOf(block, in_group) * push.group_in + in_channel) * push.taps_dh + kzy) * push.taps_w + kx;
}

float biasOf(int block, int of_block) {
    int in_group = block % push.blocks_a_group * push.block_channels + of_block;
    if (in_group >= push.group_out || push.has_bias == 0) return 0.0;
    return FROM_ELEMENT(bias[push.bias_base + channelOf(block, in_group)]);
}

#ifdef PACKED_HALVES
uint halfAt(int block, int half_index) {
    int slice = half_index / (push.block_channels * push.slice_depth);
    int from = weightIndex(block, half_index / push.slice_depth % push.block_channels,
                           slice * push.slice_depth + half_index % push.slice_depth);
    return from >= 0 ? uint(weight[from]) : 0u;
}
#endif

void main() {
    int id = flatInvocation();
    int block = push.block0 + id / push.block_stride;
    int at = id % push.block_stride;
    if (block >= push.block0 + push.block_count) return;
    if (at < push.block_channels) {
        packed[id] = floatBitsToUint(biasOf(block, at));
        return;
    }
#ifdef PACKED_HALVES
    int first = (at - push.block_channels) * 2;
    packed[id] = halfAt(block, first) | halfAt(block, first + 1) << 16u;
#else
    int from = weightIndex(block, at % push.block_channels, at / push.block_channels - 1);
    packed[id] = from >= 0 ? floatBitsToUint(FROM_ELEMENT(weight[from])) : 0u;
#endif
}
