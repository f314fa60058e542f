// Partial convolution as an implicit matrix product, weights [channels, depth] by input windows [depth, outputs]: a
// workgroup makes a tile of the product from slices it brings to shared memory, an invocation a part of it in registers.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "partial_conv.glsl"

layout(constant_id = SPEC_BLOCK_M) const int kBlockM = 64;
layout(constant_id = SPEC_BLOCK_N) const int kBlockN = 64;
layout(constant_id = SPEC_BLOCK_K) const int kBlockK = 16;
layout(constant_id = SPEC_THREAD_M) const int kThreadM = 4;
layout(constant_id = SPEC_THREAD_N) const int kThreadN = 4;
const int kThreadsN = kBlockN / kThreadN;
const int kLanes = kBlockM / kThreadM * kThreadsN;
// Slices are loaded whole: kLanes is a multiple of kBlockN and divides both slices.
const int kLoadsA = kBlockM * kBlockK / kLanes;
const int kLoadsB = kBlockN * kBlockK / kLanes;
const int kRowsB = kLanes / kBlockN;

// Where one row of the input slice reads: a tap of a channel.
struct Tap {
    int x_offset;  // elements from the window's origin
    int dz, dy, dx;
    int plane;
};

shared float slice_a[kBlockK * kBlockM];
shared float slice_b[kBlockK * kBlockN];
shared Tap taps[2][kBlockK];
shared uint any_valid;

float acc[kThreadM * kThreadN];

// Depth runs over kernel planes, kernel rows, channels, kernel columns, as the packed weights do.
void decodeTap(int slot, int row, int k, int group) {
    int kx = k % p.kernel_w;
    int c = k / p.kernel_w % group_in;
    int kzy = k / p.kernel_w / group_in;
    Tap tap;
    tap.dz = kzy / p.kernel_h * p.dilation_d;
    tap.dy = kzy % p.kernel_h * p.dilation_h;
    tap.dx = kx * p.dilation_w;
    tap.x_offset = c * push.x_stride_c + tap.dz * push.x_stride_d + tap.dy * push.x_stride_h +
                   tap.dx * push.x_stride_w;
    tap.plane = kMaskMulti != 0 ? planeOfRun(runOf(group * group_in + c, channels)) : 0;
    taps[slot][row] = tap;
}

// Where the mask is 0 the input is replaced, not multiplied: what lies in a hole never enters the arithmetic.
float loadMasked(Tap tap, bool wanted, int n, int origin, int z0, int y0, int x0) {
    int z = z0 + tap.dz;
    int iy = y0 + tap.dy;
    int ix = x0 + tap.dx;
    bool ok = wanted && z >= 0 && z < p.input_d && iy >= 0 && iy < p.input_h && ix >= 0 && ix < p.input_w;
    float m = 1.0;
    if (kMaskKind != MASK_NONE) {
        // The row of a tap outside the image may begin outside what is bound: it is not read.
        int row = maskRow(n, tap.plane, z, iy);
        if (kMaskKind == MASK_BITS) {
            uint bits = mask_bits[ok ? row + MASK_MARGIN_WORDS + (ix >> 5) : 0];
            ok = ok && (bits >> (uint(ix) & 31u) & 1u) != 0u;
        } else {
            m = mask_values[ok ? row + ix : 0];
            ok = ok && m != 0.0;
        }
    }
    float value = FROM_ELEMENT(x[ok ? origin + tap.x_offset : 0]);
    if (kMaskKind == MASK_FRACTIONAL) value *= m;
    return ok ? value : 0.0;
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

    if (lane == 0) any_valid = 0u;
    for (int row = lane; row < kBlockK; row += kLanes) decodeTap(0, row, row, group);
    barrier();
    if (wanted && (gain == GAIN_CHANNELS || gainAt(n, group, 0, od, oh, ow).x > 0.0)) atomicOr(any_valid, 1u);
    barrier();
    int depth = p.kernel_d * p.kernel_h * group_in * p.kernel_w;
    if (any_valid == 0u) depth = 0;

    [[unroll]] for (int i = 0; i < kThreadM * kThreadN; ++i) acc[i] = 0.0;
    int row_m = lane / kThreadsN * kThreadM;
    int column_n = lane % kThreadsN;
    int slot = 0;
    for (int k0 = 0; k0 < depth; k0 += kBlockK) {
        [[unroll]] for (int i = 0; i < kLoadsA; ++i)
            slice_a[lane + i * kLanes] = weights[weight_block + kBlockM + k0 * kBlockM + lane + i * kLanes];
        [[unroll]] for (int i = 0; i < kLoadsB; ++i) {
            int row = lane / kBlockN + i * kRowsB;
            slice_b[row * kBlockN + column] =
                loadMasked(taps[slot][row], wanted && k0 + row < depth, n, origin, z0, y0, x0);
        }
        barrier();
        slot = 1 - slot;
        for (int row = lane; row < kBlockK; row += kLanes) decodeTap(slot, row, min(k0 + kBlockK + row, depth - 1), group);
        for (int k = 0; k < kBlockK; ++k) {
            float a[kThreadM];
            float b[kThreadN];
            [[unroll]] for (int i = 0; i < kThreadM; ++i) a[i] = slice_a[k * kBlockM + row_m + i];
            [[unroll]] for (int j = 0; j < kThreadN; ++j) b[j] = slice_b[k * kBlockN + column_n + j * kThreadsN];
            [[unroll]] for (int i = 0; i < kThreadM; ++i)
                [[unroll]] for (int j = 0; j < kThreadN; ++j) acc[i * kThreadN + j] += a[i] * b[j];
        }
        barrier();
    }

    [[unroll]] for (int j = 0; j < kThreadN; ++j) {
        int at = first + column_n + j * kThreadsN;
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
