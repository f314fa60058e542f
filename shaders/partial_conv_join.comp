// What a matrix product whose depth was cut left: adds the parts of each output's sum, always in the same order, and finishes it.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "implicit_gemm.glsl"

// One invocation an output, columns beside each other: x counts columns, y channels of the dispatch's blocks.
void main() {
    int at = int(gl_GlobalInvocationID.x);
    int block = push.block0 + int(gl_WorkGroupID.y) / kBlockM;
    int row = int(gl_WorkGroupID.y) % kBlockM;
    int in_group = block % blocks_a_group * kBlockM + row;
    Column made = columnAt(at);
    if (!made.wanted || in_group >= group_out) return;
    int columns = int(gl_NumWorkGroups.x * gl_WorkGroupSize.x);
    int rows = int(gl_NumWorkGroups.y);
    float sum = 0.0;
    for (int part = 0; part < push.parts; ++part) sum += sums[(part * rows + int(gl_WorkGroupID.y)) * columns + at];
    int group = block / blocks_a_group;
    int channel = group * group_out + in_group;
    vec2 r_u = gainAt(made.n, group, channel, made.at.z, made.at.y, made.at.x);
    y[outputIndex(made, channel)] = TO_ELEMENT(finish(sum, r_u, weights[(block - push.block0) * block_stride + row]));
}
