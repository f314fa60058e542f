// Partial convolution as an implicit matrix product by cooperative matrices: f16 factors, f32 sums. A subgroup makes a part of
// the workgroup's tile, in matrices of the size that the device multiplies.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require

#include "implicit_gemm.glsl"

layout(constant_id = SPEC_SUBGROUP) const int kSubgroup = 32;
layout(constant_id = SPEC_MATRIX_M) const int kMatrixM = 16;
layout(constant_id = SPEC_MATRIX_N) const int kMatrixN = 16;
layout(constant_id = SPEC_MATRIX_K) const int kMatrixK = 16;
// Subgroups along the tile's rows and columns.
layout(constant_id = SPEC_SUBGROUPS_M) const int kSubgroupsM = 2;
layout(constant_id = SPEC_SUBGROUPS_N) const int kSubgroupsN = 2;
const int kSubgroups = kSubgroupsM * kSubgroupsN;
const int kLanes = kSubgroups * kSubgroup;
const int kPartM = kBlockM / kSubgroupsM;
const int kPartN = kBlockN / kSubgroupsN;
const int kMatricesM = kPartM / kMatrixM;
const int kMatricesN = kPartN / kMatrixN;
const int kSteps = kBlockK / kMatrixK;

#define SUMS coopmat<float, gl_ScopeSubgroup, kMatrixM, kMatrixN, gl_MatrixUseAccumulator>

// Shared memory is moved in vectors of eight f16. A row is a channel's or a column's depth; one more vector keeps rows that are
// read together out of each other's banks.
const int kEights = kBlockK / 8;
const int kStride = kEights + 1;
const int kLoadsA = kBlockM * kEights / kLanes;
// An invocation loads several eights of one column: kLanes is a multiple of kBlockN.
const int kLoadsB = kBlockN * kEights / kLanes;

shared uvec4 slice_a[kBlockM * kStride];
shared uvec4 slice_b[kBlockN * kStride];
shared vec4 made_sums[kSubgroups * kMatrixM * kMatrixN / 4];
// Of the tile's columns: ratio and updated mask, where channel 0 of the output lies and where that of its mask.
shared vec2 column_gain[kBlockN];
shared int column_output[kBlockN];
shared int column_mask[kBlockN];

layout(binding = 1) restrict readonly buffer Halves {
    uvec4 halves[];  // the packed weights, from the biases on
};

uvec4 next_a[kLoadsA];
uvec4 next_b[kLoadsB];

// Eight taps of a column, with what lies in holes replaced by 0.
uvec4 loadEight(int slot, int left, Column column, ivec3 window, int origin, inout FetchedRow mask_row) {
    uint valid = validTaps(slot, left, column, window, mask_row);
    ivec4 offsets[2] = ivec4[](tap_offsets[slot >> 2], tap_offsets[(slot >> 2) + 1]);
    uint elements[8];
    [[unroll]] for (int i = 0; i < 8; ++i) {
        bool ok = (valid >> uint(i) & 1u) != 0u;
        uint bits = uint(x[ok ? origin + offsets[i / 4][i % 4] : 0]);
        elements[i] = ok ? bits : 0u;
    }
    return uvec4(elements[0] | elements[1] << 16u, elements[2] | elements[3] << 16u, elements[4] | elements[5] << 16u,
                 elements[6] | elements[7] << 16u);
}

float madeSum(int at) {
    return made_sums[at >> 2][at & 3];
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int first = int(gl_WorkGroupID.x) * kBlockN;
    int block = push.block0 + int(gl_WorkGroupID.y);
    int group = block / blocks_a_group;
    int weight_block = (block - push.block0) * block_stride;
    int first_half = (weight_block + kBlockM) / 4;

    // The column this invocation loads, and which eights of it.
    Column column = columnAt(first + lane % kBlockN);
    ivec3 window = windowOf(column);
    int origin = originOf(column, window, group);
    int eight = lane / kBlockN * kLoadsB;
    if (lane < kBlockN) {
        column_gain[lane] =
            gain == GAIN_CHANNELS ? vec2(1.0) : gainAt(column.n, group, 0, column.at.z, column.at.y, column.at.x);
        column_mask[lane] = ratioIndex(column.n, group, 0, column.at.z, column.at.y, column.at.x);
        column_output[lane] = outputIndex(column, 0);
    }

    int begin = kCut != 0 ? int(gl_WorkGroupID.z) * push.part_depth : 0;
    int depth = p.kernel_d * p.kernel_h * group_in * p.kernel_w;
    if (kCut != 0) depth = min(depth, begin + push.part_depth);
    ivec2 tap_size = ivec2(p.kernel_w, group_in);
    ivec3 place = placeOf(begin + lane, tap_size);
    ivec3 by = placeOf(kBlockK, tap_size);
    if (lane == 0) any_valid[0] = 0u;
    if (lane < kBlockK) storeTap(lane, place, group);
    barrier();
    if (isValid(column, group)) atomicOr(any_valid[0], 1u);
    barrier();
    if (any_valid[0] == 0u) depth = 0;

    SUMS acc[kMatricesM * kMatricesN];
    [[unroll]] for (int i = 0; i < kMatricesM * kMatricesN; ++i)
        acc[i] = SUMS(0.0);
    int subgroup = int(gl_SubgroupID);
    int row_m = subgroup / kSubgroupsN * kPartM;
    int column_n = subgroup % kSubgroupsN * kPartN;

    int slot = 0;
    FetchedRow mask_row = FetchedRow(-1, 0u);
    // A slice is on its way from memory while the one before it is multiplied.
    for (int k0 = begin - kBlockK; k0 < depth; k0 += kBlockK) {
        int next = k0 + kBlockK;
        if (next < depth) {
            [[unroll]] for (int i = 0; i < kLoadsA; ++i)
                next_a[i] = halves[first_half + next * kBlockM / 8 + lane + i * kLanes];
            [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
                int row = (eight + i) * 8;
                next_b[i] = loadEight(slot + row, depth - next - row, column, window, origin, mask_row);
            }
        }
        if (k0 >= begin) {
            // A slice's products begin at zero: a matrix unit may truncate what it adds to a large sum.
            coopmat<float16_t, gl_ScopeSubgroup, kMatrixM, kMatrixK, gl_MatrixUseA> a[kMatricesM * kSteps];
            [[unroll]] for (int i = 0; i < kMatricesM * kSteps; ++i)
                coopMatLoad(a[i], slice_a, (row_m + i / kSteps * kMatrixM) * kStride + i % kSteps * kMatrixK / 8, kStride,
                            gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (int j = 0; j < kMatricesN; ++j) {
                coopmat<float16_t, gl_ScopeSubgroup, kMatrixK, kMatrixN, gl_MatrixUseB> b[kSteps];
                [[unroll]] for (int k = 0; k < kSteps; ++k)
                    coopMatLoad(b[k], slice_b, (column_n + j * kMatrixN) * kStride + k * kMatrixK / 8, kStride,
                                gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (int i = 0; i < kMatricesM; ++i) {
                    SUMS sum = SUMS(0.0);
                    [[unroll]] for (int k = 0; k < kSteps; ++k)
                        sum = coopMatMulAdd(a[i * kSteps + k], b[k], sum);
                    acc[i * kMatricesN + j] += sum;
                }
            }
        }
        barrier();
        if (next < depth) {
            [[unroll]] for (int i = 0; i < kLoadsA; ++i) {
                uint at = uint(lane + i * kLanes);
                slice_a[at / kEights * kStride + at % kEights] = next_a[i];
            }
            [[unroll]] for (int i = 0; i < kLoadsB; ++i)
                slice_b[lane % kBlockN * kStride + eight + i] = next_b[i];
            slot = kBlockK - slot;
            place = advance(place, by, tap_size);
            if (lane < kBlockK && next + kBlockK + lane < depth) storeTap(slot + lane, place, group);
        }
        barrier();
    }

    // By way of shared memory, for which element of a matrix lies with which invocation is the device's affair: a column's
    // elements go to one, or to a few.
    int mine = int(gl_SubgroupInvocationID);
    int staged = subgroup * kMatrixM * kMatrixN;
    int parts_row = int(gl_WorkGroupID.z * gl_NumWorkGroups.y + gl_WorkGroupID.y) * kBlockM;
    int parts_columns = int(gl_NumWorkGroups.x) * kBlockN;
    int first_channel = block % blocks_a_group * kBlockM;
    [[unroll]] for (int j = 0; j < kMatricesN; ++j) {
        int tile_column = column_n + j * kMatrixN + (mine & kMatrixN - 1);
        bool wanted = first + tile_column < columnsOfDispatch();
        vec2 r_u = column_gain[tile_column];
        int to = column_output[tile_column];
        [[unroll]] for (int i = 0; i < kMatricesM; ++i) {
            coopMatStore(acc[i * kMatricesN + j], made_sums, staged / 4, kMatrixN / 4, gl_CooperativeMatrixLayoutRowMajor);
            subgroupBarrier();
            int row = row_m + i * kMatrixM + mine / kMatrixN;
            for (int e = mine; e < kMatrixM * kMatrixN; e += kSubgroup, row += kSubgroup / kMatrixN) {
                if (kCut != 0) {
                    sums[(parts_row + row) * parts_columns + first + tile_column] = madeSum(staged + e);
                } else if (wanted && first_channel + row < group_out) {
                    int channel = group * group_out + first_channel + row;
                    if (gain == GAIN_CHANNELS)
                        r_u = vec2(1.0, updated_mask[push.updated_base + column_mask[tile_column] +
                                                     channel * p.output_d * p.output_h * p.output_w]);
                    y[to + channel * push.y_stride_c] =
                        TO_ELEMENT(finish(madeSum(staged + e), r_u, weights[weight_block + row]));
                }
            }
            subgroupBarrier();
        }
    }
}
