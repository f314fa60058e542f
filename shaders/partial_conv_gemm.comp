// Partial convolution as an implicit matrix product, weights [channels, depth] by input windows [depth, outputs]: a
// workgroup makes a tile of the product from slices it brings to shared memory, an invocation a part of it in registers.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "partial_conv.glsl"
#include "walk.glsl"

layout(constant_id = SPEC_BLOCK_M) const int kBlockM = 64;
layout(constant_id = SPEC_BLOCK_N) const int kBlockN = 64;
layout(constant_id = SPEC_BLOCK_K) const int kBlockK = 16;
layout(constant_id = SPEC_THREAD_M) const int kThreadM = 4;
layout(constant_id = SPEC_THREAD_N) const int kThreadN = 4;
const int kThreadsN = kBlockN / kThreadN;
const int kLanes = kBlockM / kThreadM * kThreadsN;
// Slices are loaded whole: kLanes is a multiple of kBlockN and divides both slices, that of the weights in vectors.
const int kLoadsA = kBlockM * kBlockK / (4 * kLanes);
const int kLoadsB = kBlockN * kBlockK / kLanes;
const int kRowsB = kLanes / kBlockN;
// An invocation's columns are runs of four.
const int kRun = kThreadN < 4 ? kThreadN : 4;

shared vec4 slice_a[kBlockK * kBlockM / 4];
shared float slice_b[kBlockK * kBlockN];
// Where the rows of two slices of the input read: elements from the window's origin, a column's bit among those of a row of
// the mask, which of these rows, its plane.
shared ivec4 taps[2 * kBlockK];
shared ivec3 tap_rows[2 * kBlockK];  // plane and row in the window, and from which of its columns on the bits are
shared uint any_valid;

float acc[kThreadM * kThreadN];

// Depth runs over kernel planes and rows, channels, kernel columns, as the packed weights do.
void storeTap(int slot, ivec3 place, int group) {
    int kx = place.x;
    int dz = place.z / p.kernel_h * p.dilation_d;
    int dy = place.z % p.kernel_h * p.dilation_h;
    int dx = kx * p.dilation_w;
    int words = (p.kernel_w - 1) * p.dilation_w / 32 + 1;
    taps[slot] = ivec4(place.y * push.x_stride_c + dz * push.x_stride_d + dy * push.x_stride_h + dx * push.x_stride_w,
                       dx & 31, place.z * words + dx / 32,
                       kMaskMulti != 0 ? planeOfRun(runOf(group * group_in + place.y, channels)) : 0);
    tap_rows[slot] = ivec3(dz, dy, dx & ~31);
}

// Bits for the columns from x0 on of the row that a tap reads: 1 where they are inside and, in a binary mask, no holes.
uint insideRow(ivec3 tap_row, int plane, int n, int z0, int y0, int x0) {
    int z = z0 + tap_row.x;
    int iy = y0 + tap_row.y;
    bool inside = z >= 0 && z < p.input_d && iy >= 0 && iy < p.input_h;
    if (kMaskKind == MASK_BITS) return rowBits(inside, maskRow(n, plane, z, iy), x0 + tap_row.z, p.row_words);
    return inside ? insideBits(x0 + tap_row.z, p.input_w) : 0u;
}

// Where the mask is 0 the input is replaced, not multiplied: what lies in a hole never enters the arithmetic.
float loadMasked(bool ok, int slot, int origin, int n, int z0, int y0, int x0) {
    float m = 1.0;
    if (kMaskKind == MASK_FRACTIONAL) {
        ivec3 tap_row = tap_rows[slot];
        int row = maskRow(n, taps[slot].w, z0 + tap_row.x, y0 + tap_row.y);
        m = mask_values[ok ? row + x0 + tap_row.z + taps[slot].y : 0];
        ok = ok && m != 0.0;
    }
    float value = FROM_ELEMENT(x[ok ? origin + taps[slot].x : 0]);
    if (kMaskKind == MASK_FRACTIONAL) value *= m;
    return ok ? value : 0.0;
}

// Column j of an invocation's, from the tile's first.
int columnOf(int thread, int j) {
    return thread * kRun + j % kRun + j / kRun * kRun * kThreadsN;
}

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int first = push.first + int(gl_WorkGroupID.x) * kBlockN;
    int block = push.block0 + int(gl_WorkGroupID.y);
    int n = push.n0 + int(gl_WorkGroupID.z);
    int group = block / blocks_a_group;
    int weight_block = (block - push.block0) * block_stride;

    // The column this invocation loads.
    int column = lane % kBlockN;
    int loaded = min(first + column, push.end - 1);
    bool wanted = first + column < push.end;
    int ow = loaded % p.output_w;
    int oh = loaded / p.output_w % p.output_h;
    int od = loaded / p.output_w / p.output_h;
    int z0 = od * p.stride_d - p.padding_d;
    int y0 = oh * p.stride_h - p.padding_h;
    int x0 = ow * p.stride_w - p.padding_w;
    int origin = push.x_base + n * push.x_stride_n + group * group_in * push.x_stride_c + z0 * push.x_stride_d +
                 y0 * push.x_stride_h + x0 * push.x_stride_w;

    int depth = p.kernel_d * p.kernel_h * group_in * p.kernel_w;
    // The tap that this invocation tells the others of, kernel column, channel and kernel row; those beyond the last have
    // weights of 0 and are not read.
    ivec2 window = ivec2(p.kernel_w, group_in);
    ivec3 place = placeOf(lane, window);
    ivec3 by = placeOf(kBlockK, window);
    if (lane == 0) any_valid = 0u;
    if (lane < kBlockK) storeTap(lane, place, group);
    barrier();
    if (wanted && (gain == GAIN_CHANNELS || gainAt(n, group, 0, od, oh, ow).x > 0.0)) atomicOr(any_valid, 1u);
    barrier();
    if (any_valid == 0u) depth = 0;

    [[unroll]] for (int i = 0; i < kThreadM * kThreadN; ++i) acc[i] = 0.0;
    int row_m = lane / kThreadsN * kThreadM;
    int column_n = lane % kThreadsN;
    int slot = 0;
    int key = -1;
    int plane = 0;
    uint bits = 0u;
    for (int k0 = 0; k0 < depth; k0 += kBlockK) {
        [[unroll]] for (int i = 0; i < kLoadsA; ++i)
            slice_a[lane + i * kLanes] = weights4[(weight_block + kBlockM + k0 * kBlockM) / 4 + lane + i * kLanes];
        // Which of the slice's rows have something for this column: a row of the mask is fetched once for all taps in it.
        uint valid = 0u;
        [[dont_unroll]] for (int i = 0; i < kLoadsB; ++i) {
            int at = slot + lane / kBlockN + i * kRowsB;
            // Behind the last tap are rows of no window, which may lie outside what is bound.
            if (k0 + at - slot >= depth) break;
            ivec4 tap = taps[at];
            if (tap.z != key || (kMaskMulti != 0 && tap.w != plane)) {
                key = tap.z;
                plane = tap.w;
                bits = wanted ? insideRow(tap_rows[at], plane, n, z0, y0, x0) : 0u;
            }
            valid |= (bits >> uint(tap.y) & 1u) << uint(i);
        }
        [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
            int row = lane / kBlockN + i * kRowsB;
            slice_b[row * kBlockN + column] =
                loadMasked((valid >> uint(i) & 1u) != 0u, slot + row, origin, n, z0, y0, x0);
        }
        barrier();
        slot = kBlockK - slot;
        place = advance(place, by, window);
        if (lane < kBlockK && k0 + kBlockK + lane < depth) storeTap(slot + lane, place, group);
        for (int k = 0; k < kBlockK; ++k) {
            float a[kThreadM];
            float b[kThreadN];
            [[unroll]] for (int i = 0; i < kThreadM; ++i) a[i] = slice_a[(k * kBlockM + row_m + i) / 4][i % 4];
            [[unroll]] for (int j = 0; j < kThreadN; ++j) b[j] = slice_b[k * kBlockN + columnOf(column_n, j)];
            [[unroll]] for (int i = 0; i < kThreadM; ++i)
                [[unroll]] for (int j = 0; j < kThreadN; ++j) acc[i * kThreadN + j] += a[i] * b[j];
        }
        barrier();
    }

    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        int at = first + columnOf(column_n, j);
        if (at < push.end) {
            int w = at % p.output_w;
            int h = at / p.output_w % p.output_h;
            int d = at / p.output_w / p.output_h;
            vec2 r_u = gainAt(n, group, group * group_out, d, h, w);
            [[unroll]] for (int i = 0; i < kThreadM; ++i) {
                int in_group = block % blocks_a_group * kBlockM + row_m + i;
                if (in_group < group_out) {
                    int channel = group * group_out + in_group;
                    if (gain == GAIN_CHANNELS) r_u = gainAt(n, group, channel, d, h, w);
                    y[push.y_base + n * push.y_stride_n + channel * push.y_stride_c +
                      d * push.y_stride_d + h * push.y_stride_h + w * push.y_stride_w] =
                        TO_ELEMENT(finish(acc[i * kThreadN + j], r_u, weights[weight_block + row_m + i]));
                }
            }
        }
    }
}
