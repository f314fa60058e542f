// Partial convolution as an implicit matrix product: a workgroup brings slices to shared memory, an invocation makes a part of
// the tile in registers.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "implicit_gemm.glsl"
#include "register_tile.glsl"

// Slices are loaded whole, that of the weights in vectors, that of the input by eights of a column's depth: kLanes is a multiple
// of kBlockN and divides both.
const int kLoadsA = kBlockM * kBlockK / (4 * kLanes);
const int kEights = kBlockN * kBlockK / 8 / kLanes;

// Where the mask is 0 the input is replaced, not multiplied: what lies in a hole never enters the arithmetic.
float loadMasked(bool ok, int slot, int offset, int origin, int n, ivec3 window) {
    float m = 1.0;
    if (kMaskKind == MASK_FRACTIONAL) {
        ivec4 tap_row = tap_rows[slot];
        int row = maskRow(n, tap_row.w, window.z + tap_row.x, window.y + tap_row.y);
        m = mask_values[ok ? row + window.x + tap_row.z + tap_bits[slot >> 2][slot & 3] : 0];
        ok = ok && m != 0.0;
    }
    float value = FROM_ELEMENT(x[ok ? origin + offset : 0]);
    if (kMaskKind == MASK_FRACTIONAL) value *= m;
    return ok ? value : 0.0;
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int first = int(gl_WorkGroupID.x) * kBlockN;
    int block = push.block0 + int(gl_WorkGroupID.y);
    int group = block / blocks_a_group;
    int weight_block = (block - push.block0) * block_stride;

    // The column this invocation loads.
    Column column = columnAt(first + lane % kBlockN);
    ivec3 window = windowOf(column);
    int origin = originOf(column, window, group);

    int begin = kCut != 0 ? int(gl_WorkGroupID.z) * push.part_depth : 0;
    int depth = p.kernel_d * p.kernel_h * group_in * p.kernel_w;
    if (kCut != 0) depth = min(depth, begin + push.part_depth);
    // The tap that this invocation tells the others of, kernel column, channel and kernel row; those beyond the last have
    // weights of 0 and are not read.
    ivec2 tap_size = ivec2(p.kernel_w, group_in);
    ivec3 place = placeOf(begin + lane, tap_size);
    ivec3 by = placeOf(kBlockK, tap_size);
    if (lane == 0) any_valid[0] = 0u;
    if (lane < kBlockK) storeTap(lane, place, group);
    barrier();
    if (isValid(column, group)) atomicOr(any_valid[0], 1u);
    barrier();
    if (any_valid[0] == 0u) depth = 0;

    [[unroll]] for (int i = 0; i < kThreadM * kThreadN; ++i) acc[i] = 0.0;
    int rows_a = lane / kThreadsN * (kThreadM / 4);
    int row_m = rows_a * 4;
    int column_n = lane % kThreadsN;
    int slot = 0;
    FetchedRow mask_row = FetchedRow(-1, 0u);
    for (int k0 = begin; k0 < depth; k0 += kBlockK) {
        [[unroll]] for (int i = 0; i < kLoadsA; ++i)
            slice_a[lane + i * kLanes] = weights4[(weight_block + kBlockM + k0 * kBlockM) / 4 + lane + i * kLanes];
        [[unroll]] for (int e = 0; e < kEights; ++e) {
            int row = (lane / kBlockN * kEights + e) * 8;
            uint valid = validTaps(slot + row, depth - k0 - row, column, window, mask_row);
            ivec4 offsets[2] = ivec4[](tap_offsets[slot + row >> 2], tap_offsets[(slot + row >> 2) + 1]);
            [[unroll]] for (int i = 0; i < 8; ++i)
                storeB(row + i, lane & kBlockN - 1,
                       loadMasked((valid >> uint(i) & 1u) != 0u, slot + row + i, offsets[i / 4][i % 4], origin, column.n, window));
        }
        barrier();
        slot = kBlockK - slot;
        place = advance(place, by, tap_size);
        if (lane < kBlockK && k0 + kBlockK + lane < depth) storeTap(slot + lane, place, group);
        multiply(0, kBlockK, rows_a, column_n);
        barrier();
    }

    if (kCut != 0) {
        int columns = int(gl_NumWorkGroups.x) * kBlockN;
        int part = int(gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * kBlockM;
        [[unroll]] for (int i = 0; i < kThreadM; ++i)
            [[unroll]] for (int j = 0; j < kThreadN; ++j)
                sums[(part + row_m + i) * columns + first + columnOf(column_n, j)] = acc[i * kThreadN + j];
        return;
    }
    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        Column made = columnAt(first + columnOf(column_n, j));
        if (made.wanted) {
            vec2 r_u = vec2(1.0);
            if (gain != GAIN_CHANNELS) r_u = gainAt(made.n, group, 0, made.at.z, made.at.y, made.at.x);
            [[unroll]] for (int i = 0; i < kThreadM; ++i) {
                int in_group = block % blocks_a_group * kBlockM + row_m + i;
                if (in_group < group_out) {
                    int channel = group * group_out + in_group;
                    if (gain == GAIN_CHANNELS)
                        r_u = gainAt(made.n, group, channel, made.at.z, made.at.y, made.at.x);
                    y[outputIndex(made, channel)] =
                        TO_ELEMENT(finish(acc[i * kThreadN + j], r_u, weights[weight_block + row_m + i]));
                }
            }
        }
    }
}
