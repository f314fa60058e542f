// Packs weights [Cout, Cin / G, K...] and bias into blocks of output channels of one group: the block's biases, then for
// every kernel plane, kernel row, input channel and kernel column the block's weights; 0 where there is none.
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
    float packed[];
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
} push;

void main() {
    int id = flatInvocation();
    int block = push.block0 + id / push.block_stride;
    int at = id % push.block_stride;
    if (block >= push.block0 + push.block_count) return;
    int in_group = block % push.blocks_a_group * push.block_channels + at % push.block_channels;
    int channel = block / push.blocks_a_group * push.group_out + in_group;
    int k = at / push.block_channels - 1;
    float value = 0.0;
    if (in_group < push.group_out) {
        if (k < 0) {
            if (push.has_bias != 0) value = FROM_ELEMENT(bias[push.bias_base + channel]);
        } else if (k < push.taps_dh * push.group_in * push.taps_w) {
            int kx = k % push.taps_w;
            int in_channel = k / push.taps_w % push.group_in;
            int kzy = k / push.taps_w / push.group_in;
            value = FROM_ELEMENT(weight[push.weight_base +
                                 ((channel * push.group_in + in_channel) * push.taps_dh + kzy) * push.taps_w + kx]);
        }
    }
    packed[id] = value;
}
