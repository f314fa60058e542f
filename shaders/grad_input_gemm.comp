// The gradient of the input as a matrix product, turned weights [input channels, (tap, output channel)] by the gradient of
// the sums at the outputs that the taps reach: a workgroup makes a tile of the product from slices in shared memory. Its
// columns are inputs of one phase, whole strides apart, which the same taps reach: the others are skipped by all.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grad_input.glsl"
#include "gradient_tile.glsl"

layout(constant_id = SPEC_VECTORS) const int kVectors = 0;
// Slices are loaded whole, the weights in vectors, and so the sums where they lie in such: lanes beside each other load a column.
const int kLoadsA = kBlockM * kBlockK / (4 * kLanes);
const int kRun = kVectors != 0 ? 4 : 1;
const int kLoadsB = kBlockN * kBlockK / (kRun * kLanes);
const int kLanesAColumn = kBlockK / kRun;
const int kColumnsALoad = kLanes / kLanesAColumn;
const int kHalf = kBlockK / 2;       // what is multiplied at once, where a group has no more channels left
const int kNowhere = -0x7FFFFFFF;  // of columns that are not wanted; what a tap adds could wrap it, so nothing is added

// Of the tile's columns: along W, H and D in strides from the phase's first input, and where the sums of that output lie.
shared ivec4 column_at[kBlockN];
shared uint any_valid;

// The box of this dispatch's rows, the phase and the columns of this workgroup.
int end_z, end_y;
int first_z, first_y, first_x;
int columns_y, columns_x, columns;
int first_column;

int ceilDivide(int x, int y) {
    return (x + y - 1) / y;
}

void place() {
    int last_row = push.row0 + push.rows - 1;
    int z0 = push.row0 / p.w.input_h;
    end_z = last_row / p.w.input_h + 1;
    bool whole_planes = end_z - z0 > 1;
    int y0 = whole_planes ? 0 : push.row0 % p.w.input_h;
    end_y = whole_planes ? p.w.input_h : last_row % p.w.input_h + 1;
    int phases_y = min(p.w.stride_h, end_y - y0);
    int phases_x = min(p.w.stride_w, p.w.input_w);
    columns_y = ceilDivide(end_y - y0, p.w.stride_h);
    columns_x = ceilDivide(p.w.input_w, p.w.stride_w);
    columns = ceilDivide(end_z - z0, p.w.stride_d) * columns_y * columns_x;
    int tiles = ceilDivide(columns, kBlockN);
    int phase = int(gl_WorkGroupID.x) / tiles;
    first_column = int(gl_WorkGroupID.x) % tiles * kBlockN;
    first_z = z0 + phase / phases_x / phases_y;
    first_y = y0 + phase / phases_x % phases_y;
    first_x = phase % phases_x;
}

// A column's input, in strides from the phase's first.
ivec3 stepsOf(int column) {
    return ivec3(column % columns_x, column / columns_x % columns_y, column / columns_x / columns_y);
}

ivec3 inputAt(ivec3 steps) {
    return ivec3(first_x + steps.x * p.w.stride_w, first_y + steps.y * p.w.stride_h, first_z + steps.z * p.w.stride_d);
}

// A box of several planes holds rows of its first and last that other dispatches make.
bool isInside(int column, ivec3 at) {
    int row = at.z * p.w.input_h + at.y;
    return column < columns && at.x < p.w.input_w && at.y < end_y && at.z < end_z && row >= push.row0 &&
           row < push.row0 + push.rows;
}

// Of channels of this dispatch: the planes of others may not be bound.
bool anyValid(int n, ivec3 at, int channel, int channel_end) {
    if (kMaskMulti == 0) return maskAt(n, 0, at.z, at.y, at.x) != 0.0;
    while (channel < channel_end) {
        int run = runOf(channel, p.in_channels);
        if (maskAt(n, planeOfRun(run), at.z, at.y, at.x) != 0.0) return true;
        channel = endOfRun(run);
    }
    return false;
}

// An output's sums from the first one's.
int sumsOf(ivec3 at) {
    return ((at.z * p.w.output_h + at.y) * p.w.output_w + at.x) * p.out_channels;
}

// A step along the taps of an axis takes this off where the first column is read, in strides and the rest.
void goBack(inout int origin, inout int rest, int by, int by_rest, int stride) {
    origin -= by;
    rest -= by_rest;
    if (rest < 0) {
        rest += stride;
        --origin;
    }
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int block = push.block0 + int(gl_WorkGroupID.y);
    int n = push.n0 + int(gl_WorkGroupID.z);
    int blocks_a_group = ceilDivide(p.group_in, kBlockM);
    int group = block / blocks_a_group;
    int first = group * p.group_in + block % blocks_a_group * kBlockM;
    int channels = min(kBlockM, (group + 1) * p.group_in - first);
    place();

    if (lane == 0) any_valid = 0u;
    barrier();
    for (int i = lane; i < kBlockN; i += kLanes) {
        ivec3 steps = stepsOf(first_column + i);
        ivec3 at = inputAt(steps);
        bool wanted = isInside(first_column + i, at) && anyValid(n, at, max(first, push.c0), min(first + channels, push.c1));
        if (wanted) atomicOr(any_valid, 1u);
        int sums = push.sum_base + n * p.w.output_d * p.w.output_h * p.w.output_w * p.out_channels + group * p.group_out;
        column_at[i] = ivec4(steps, wanted ? sums + sumsOf(steps) : kNowhere);
    }
    clearTile();
    barrier();

    int rows_a = int(gl_LocalInvocationID.x / uint(kThreadsN)) * (kThreadM / 4);
    int column_n = int(gl_LocalInvocationID.x % uint(kThreadsN));
    int row_b = int(gl_LocalInvocationID.x % uint(kLanesAColumn)) * kRun;
    int column_b = int(gl_LocalInvocationID.x / uint(kLanesAColumn));
    // Where the first column is read by the first tap, and how much less far by the next ones.
    ivec3 stride = ivec3(p.w.stride_w, p.w.stride_h, p.w.stride_d);
    ivec3 dilation = ivec3(p.w.dilation_w, p.w.dilation_h, p.w.dilation_d);
    ivec3 far = ivec3(first_x + p.w.padding_w, first_y + p.w.padding_h, first_z + p.w.padding_d);
    ivec3 first_origin = far / stride;
    ivec3 first_rest = far - first_origin * stride;
    ivec3 by = dilation / stride;
    ivec3 by_rest = dilation - by * stride;

    int taps = any_valid != 0u ? p.w.kernel_d * p.w.kernel_h * p.w.kernel_w : 0;
    int weights = int(gl_WorkGroupID.y) * push.block_stride;
    int slices = 0;
    ivec3 tap = ivec3(0);
    ivec3 origin = first_origin;
    ivec3 rest = first_rest;
    for (; taps > 0; --taps, weights += p.group_out * kBlockM) {
        bool reaches = rest == ivec3(0);
        // Where the columns this invocation loads are read.
        int from[kLoadsB];
        [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
            ivec4 column = column_at[column_b + i * kColumnsALoad];
            ivec3 at = column.xyz + origin;
            bool inside = uint(at.x) < uint(p.w.output_w) && uint(at.y) < uint(p.w.output_h) && uint(at.z) < uint(p.w.output_d);
            from[i] = inside && column.w != kNowhere ? column.w + sumsOf(origin) + row_b : kNowhere;
        }
        goBack(origin.x, rest.x, by.x, by_rest.x, stride.x);
        if (++tap.x == p.w.kernel_w) {
            tap.x = 0;
            origin.x = first_origin.x;
            rest.x = first_rest.x;
            goBack(origin.y, rest.y, by.y, by_rest.y, stride.y);
            if (++tap.y == p.w.kernel_h) {
                tap.y = 0;
                origin.y = first_origin.y;
                rest.y = first_rest.y;
                goBack(origin.z, rest.z, by.z, by_rest.z, stride.z);
            }
        }
        for (int k0 = reaches ? 0 : p.group_out; k0 < p.group_out; k0 += kBlockK) {
            int depth = p.group_out - k0;
            // All of the slices is asked for before any of them is stored.
            vec4 some_weights[kLoadsA];
            vec4 some_sums[kLoadsB];
            [[unroll]] for (int i = 0; i < kLoadsA; ++i) {
                int at = lane + i * kLanes;
                bool ok = at < depth * (kBlockM / 4);
                vec4 four = turned4[ok ? (weights + k0 * kBlockM >> 2) + at : 0];
                some_weights[i] = ok ? four : vec4(0.0);
            }
            [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
                bool ok = from[i] >= 0 && row_b < depth;
                int at = ok ? from[i] + k0 : 0;
                vec4 four = kVectors != 0 ? grad_sum4[at >> 2] : vec4(grad_sum[at]);
                some_sums[i] = ok ? four : vec4(0.0);
            }
            [[unroll]] for (int i = 0; i < kLoadsA; ++i) slice_a[lane + i * kLanes] = some_weights[i];
            [[unroll]] for (int i = 0; i < kLoadsB; ++i)
                [[unroll]] for (int j = 0; j < kRun; ++j) storeB(row_b + j, column_b + i * kColumnsALoad, some_sums[i][j]);
            barrier();
            multiply(0, kHalf, rows_a, column_n);
            if (depth > kHalf) multiply(kHalf, kBlockK, rows_a, column_n);
            barrier();
            if (++slices % kSlices == 0) flush();
        }
    }
    flush();

    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        int column = columnOf(column_n, j);
        ivec3 at = inputAt(column_at[column].xyz);
        if (isInside(first_column + column, at))
            [[unroll]] for (int i = 0; i < kThreadM; ++i) {
                int row = rows_a * 4 + i;
                int channel = first + row;
                if (row < channels && channel >= push.c0 && channel < push.c1)
                    giveInput(n, channel, planeOf(channel), at.z, at.y, at.x, total[i * kThreadN + j]);
            }
    }
}
