// The gradient of the input as a matrix product, turned weights [input channels, (tap, output channel)] by the gradient of
// the sums at the outputs that the taps reach: a workgroup makes a tile of the product from slices in shared memory. Its
// columns are inputs of one phase, whole strides apart, which the same taps reach: the others are skipped by all.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "grad_input.glsl"

layout(constant_id = SPEC_BLOCK_M) const int kBlockM = 64;
layout(constant_id = SPEC_BLOCK_N) const int kBlockN = 64;
layout(constant_id = SPEC_BLOCK_K) const int kBlockK = 16;
layout(constant_id = SPEC_THREAD_M) const int kThreadM = 4;
layout(constant_id = SPEC_THREAD_N) const int kThreadN = 4;
const int kThreadsN = kBlockN / kThreadN;
const int kLanes = kBlockM / kThreadM * kThreadsN;
// Slices are loaded whole: kBlockK divides kLanes, which divides both slices.
const int kLoadsA = kBlockM * kBlockK / kLanes;
const int kLoadsB = kBlockN * kBlockK / kLanes;
const int kColumnsALoad = kLanes / kBlockK;
const int kStrideB = kBlockN + 2;  // so that lanes that store 16 rows of two columns meet no bank twice
const int kSlices = 2;             // whose products are added up plainly before they join the sum
const int kNowhere = -0x40000000;  // where no tap reaches an output

shared float slice_a[kBlockK * kBlockM];
shared float slice_b[kBlockK * kStrideB];
shared int column_z[kBlockN], column_y[kBlockN], column_x[kBlockN];  // in strides from the phase's first input
shared uint any_valid;

const int kTile = kThreadM * kThreadN;
float acc[kTile];
float total[kTile];
float lost[kTile];

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

void flush() {
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        addTo(total[i], lost[i], acc[i]);
        acc[i] = 0.0;
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
        column_z[i] = wanted ? steps.z : kNowhere;
        column_y[i] = steps.y;
        column_x[i] = steps.x;
    }
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        acc[i] = 0.0;
        total[i] = 0.0;
        lost[i] = 0.0;
    }
    barrier();

    int row_m = lane / kThreadsN * kThreadM;
    int column_n = lane % kThreadsN;
    int row_b = lane % kBlockK;
    int taps = any_valid != 0u ? p.w.kernel_d * p.w.kernel_h * p.w.kernel_w : 0;
    int slices = 0;
    for (int tap = 0; tap < taps; ++tap) {
        int z = first_z + p.w.padding_d - tap / p.w.kernel_w / p.w.kernel_h * p.w.dilation_d;
        int y = first_y + p.w.padding_h - tap / p.w.kernel_w % p.w.kernel_h * p.w.dilation_h;
        int x = first_x + p.w.padding_w - tap % p.w.kernel_w * p.w.dilation_w;
        ivec3 origin =
            ivec3(floorDivide(x, p.w.stride_w), floorDivide(y, p.w.stride_h), floorDivide(z, p.w.stride_d));
        if (origin.x * p.w.stride_w != x || origin.y * p.w.stride_h != y || origin.z * p.w.stride_d != z) continue;
        // Where the columns this invocation loads are read.
        int from[kLoadsB];
        [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
            int column = lane / kBlockK + i * kColumnsALoad;
            int od = column_z[column] + origin.z;
            int oh = column_y[column] + origin.y;
            int ow = column_x[column] + origin.x;
            bool ok = od >= 0 && od < p.w.output_d && oh >= 0 && oh < p.w.output_h && ow >= 0 && ow < p.w.output_w;
            from[i] = ok ? push.sum_base + (((n * p.w.output_d + od) * p.w.output_h + oh) * p.w.output_w + ow) *
                                               p.out_channels + group * p.group_out + row_b
                         : kNowhere;
        }
        int weights = int(gl_WorkGroupID.y) * push.block_stride + tap * p.group_out * kBlockM;
        for (int k0 = 0; k0 < p.group_out; k0 += kBlockK) {
            int depth = min(kBlockK, p.group_out - k0);
            [[unroll]] for (int i = 0; i < kLoadsA; ++i) {
                int at = lane + i * kLanes;
                if (at < depth * kBlockM) slice_a[at] = turned[weights + k0 * kBlockM + at];
            }
            [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
                float value = 0.0;
                if (from[i] != kNowhere && row_b < depth) value = grad_sum[from[i] + k0];
                slice_b[row_b * kStrideB + lane / kBlockK + i * kColumnsALoad] = value;
            }
            barrier();
            for (int k = 0; k < depth; ++k) {
                float a[kThreadM];
                float b[kThreadN];
                [[unroll]] for (int i = 0; i < kThreadM; ++i) a[i] = slice_a[k * kBlockM + row_m + i];
                [[unroll]] for (int j = 0; j < kThreadN; ++j) b[j] = slice_b[k * kStrideB + column_n + j * kThreadsN];
                [[unroll]] for (int i = 0; i < kThreadM; ++i)
                    [[unroll]] for (int j = 0; j < kThreadN; ++j) acc[i * kThreadN + j] += a[i] * b[j];
            }
            barrier();
            if (++slices % kSlices == 0) flush();
        }
    }
    flush();

    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        int column = first_column + column_n + j * kThreadsN;
        ivec3 at = inputAt(stepsOf(column));
        if (isInside(column, at))
            [[unroll]] for (int i = 0; i < kThreadM; ++i) {
                int channel = first + row_m + i;
                if (row_m + i < channels && channel >= push.c0 && channel < push.c1)
                    giveInput(n, channel, planeOf(channel), at.z, at.y, at.x, total[i * kThreadN + j]);
            }
    }
}
