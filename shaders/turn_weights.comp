// Packs weights [Cout, Cin / G, K...] for the gradient of the input: blocks of input channels of one group; for every tap
// and output channel of the group the block's weights, 0 where there is none.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "flat_grid.glsl"

layout(binding = 0) restrict readonly buffer Weight {
    ELEMENT weight[];
};
layout(binding = 1) restrict writeonly buffer Turned {
    float turned[];
};

layout(push_constant) uniform Push {
    int block0, block_count;
    int block_channels, blocks_a_group, block_stride;
    int group_in, group_out, taps;
    int weight_base;  // element of output channel 0
} push;

void main() {
    int id = flatInvocation();
    int block = push.block0 + id / push.block_stride;
    int at = id % push.block_stride;
    if (block >= push.block0 + push.block_count) return;
    int in_channel = block % push.blocks_a_group * push.block_channels + at % push.block_channels;
    int out_channel = at / push.block_channels % push.group_out;
    int tap = at / push.block_channels / push.group_out;
    float value = 0.0;
    if (in_channel < push.group_in && tap < push.taps)
        value = FROM_ELEMENT(weight[push.weight_base +
                                    ((block / push.blocks_a_group * push.group_out + out_channel) * push.group_in +
                                     in_channel) * push.taps + tap]);
    turned[id] = value;
}
