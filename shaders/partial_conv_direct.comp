// Partial convolution by register tiles: an invocation makes channels x rows x pixels of the output, and all of a
// workgroup read the same weights, which a scalar or uniform load serves.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "partial_conv.glsl"

layout(binding = 7) restrict readonly buffer Tiles {
    uint tiles[];
};

layout(constant_id = SPEC_CHANNELS) const int kChannels = 8;
layout(constant_id = SPEC_ROWS) const int kRows = 4;
layout(constant_id = SPEC_PIXELS) const int kPixels = 4;
layout(constant_id = SPEC_TAPS) const int kTaps = 3;
layout(constant_id = SPEC_STRIDE_W) const int kStrideW = 1;
const bool kUnrolled = kTaps > 1;
// Values of a row of the tile: all of its input columns, or where taps are looped over, one for each pixel.
const int kSpan = kUnrolled ? (kPixels - 1) * kStrideW + kTaps : kPixels;
const int kTile = kRows * kPixels;

float acc[kChannels * kTile];
float values[kRows * kSpan];
uint row_bits[kRows];
float row_mask[kMaskKind == MASK_FRACTIONAL ? kRows * kSpan : 1];

// Whether any tile of this workgroup has a valid output; uniform over the workgroup.
bool anyValid(int n, int group, int first) {
    if (gain == GAIN_CHANNELS || gain == GAIN_ONE) return true;
    int base = (maskImage(n) * ratio_groups + (ratio_groups > 1 ? group : 0)) * p.tile_words;
    int last = min(first + int(gl_WorkGroupSize.x), push.end) - 1;
    uint any = 0u;
    for (int word = first >> 5; word <= last >> 5; ++word) {
        uint bits = tiles[base + word];
        if (word == first >> 5) bits &= 0xFFFFFFFFu << (uint(first) & 31u);
        if (word == last >> 5) bits &= 0xFFFFFFFFu >> (31u - (uint(last) & 31u));
        any |= bits;
    }
    return any != 0u;
}

// Where value i of a row lies, in input columns from the first; below 32.
int column(int i) {
    return kUnrolled ? i : i * p.stride_w;
}

// For each row of the tile, which columns from x0 on are inside the input and valid.
void loadMask(int n, int plane, int z, int y0, int x0) {
    bool z_inside = z >= 0 && z < p.input_d;
    uint inside = insideBits(x0, p.input_w);
    [[unroll]] for (int r = 0; r < kRows; ++r) {
        int iy = y0 + r * p.stride_h;
        bool row_inside = z_inside && iy >= 0 && iy < p.input_h;
        uint bits = inside;
        if (kMaskKind != MASK_NONE) {
            int row = maskRow(n, plane, z, iy);
            if (kMaskKind == MASK_BITS) {
                bits = rowBits(row_inside, row, x0, p.row_words);
            } else {
                [[unroll]] for (int i = 0; i < kSpan; ++i) {
                    bool ok = row_inside && (inside >> uint(column(i)) & 1u) != 0u;
                    float m = mask_values[ok ? row + x0 + column(i) : 0];
                    row_mask[r * kSpan + i] = m;
                    if (m == 0.0) bits &= ~(1u << uint(column(i)));
                }
            }
        }
        row_bits[r] = row_inside ? bits : 0u;
    }
}

// Where the mask is 0 the input is replaced, not multiplied: what lies in a hole never enters the arithmetic.
void loadInput(int at) {
    [[unroll]] for (int r = 0; r < kRows; ++r)
        [[unroll]] for (int i = 0; i < kSpan; ++i) {
            bool ok = (row_bits[r] >> uint(column(i)) & 1u) != 0u;
            float value =
                FROM_ELEMENT(x[ok ? at + r * p.stride_h * push.x_stride_h + column(i) * push.x_stride_w : 0]);
            if (kMaskKind == MASK_FRACTIONAL) value *= row_mask[r * kSpan + i];
            values[r * kSpan + i] = ok ? value : 0.0;
        }
}

void multiply(int k, float w, int channel) {
    [[unroll]] for (int r = 0; r < kRows; ++r)
        [[unroll]] for (int i = 0; i < kPixels; ++i)
            acc[channel * kTile + r * kPixels + i] += w * values[r * kSpan + (kUnrolled ? k + i * kStrideW : i)];
}

void accumulate(int weight_at) {
    [[unroll]] for (int k = 0; k < kTaps; ++k) {
        if (kChannels >= 4) {
            [[unroll]] for (int c = 0; c < kChannels / 4; ++c) {
                vec4 w = weights4[(weight_at + k * kChannels) / 4 + c];
                multiply(k, w.x, 4 * c);
                multiply(k, w.y, 4 * c + 1);
                multiply(k, w.z, 4 * c + 2);
                multiply(k, w.w, 4 * c + 3);
            }
        } else {
            [[unroll]] for (int c = 0; c < kChannels; ++c) multiply(k, weights[weight_at + k * kChannels + c], c);
        }
    }
}

// Loops over channels with the tile picked by comparison: unrolled stores would make most of the shader's code.
void store(int n, int block, int group, int od, int oh0, int ow0) {
    vec2 gains[kTile];
    int first = block % blocks_a_group * kChannels;
    int weight_block = (block - push.block0) * block_stride;
    int count = min(kChannels, group_out - first);
    for (int c = 0; c < count; ++c) {
        if (c == 0 || gain == GAIN_CHANNELS)
            [[unroll]] for (int j = 0; j < kTile; ++j) {
                int oh = min(oh0 + j / kPixels, p.output_h - 1);
                int ow = min(ow0 + j % kPixels, p.output_w - 1);
                gains[j] = gainAt(n, group, group * group_out + first + c, od, oh, ow);
            }
        float b = weights[weight_block + c];
        int at = push.y_base + n * push.y_stride_n + (group * group_out + first + c) * push.y_stride_c +
                 od * push.y_stride_d;
        [[unroll]] for (int j = 0; j < kTile; ++j) {
            float sum = acc[j];
            [[unroll]] for (int i = 1; i < kChannels; ++i) sum = i == c ? acc[i * kTile + j] : sum;
            int oh = oh0 + j / kPixels;
            int ow = ow0 + j % kPixels;
            if (oh < p.output_h && ow < p.output_w)
                y[at + oh * push.y_stride_h + ow * push.y_stride_w] = TO_ELEMENT(finish(sum, gains[j], b));
        }
    }
}

void main() {
    int first = push.first + int(gl_WorkGroupID.x * gl_WorkGroupSize.x);
    int block = push.block0 + int(gl_WorkGroupID.y);
    int n = push.n0 + int(gl_WorkGroupID.z);
    int group = block / blocks_a_group;
    int tile = min(first + int(gl_LocalInvocationID.x), push.end - 1);
    int ow0 = tile % p.tile_columns * kPixels;
    int oh0 = tile / p.tile_columns % p.tile_rows * kRows;
    int od = tile / p.tile_columns / p.tile_rows;
    [[unroll]] for (int i = 0; i < kChannels * kTile; ++i) acc[i] = 0.0;

    int weight_block = (block - push.block0) * block_stride + kChannels;
    int kernel_d = anyValid(n, group, first) ? p.kernel_d : 0;
    for (int kz = 0; kz < kernel_d; ++kz)
        for (int ky = 0; ky < p.kernel_h; ++ky) {
            int z = od * p.stride_d - p.padding_d + kz * p.dilation_d;
            int y0 = oh0 * p.stride_h - p.padding_h + ky * p.dilation_h;
            int weight_row = weight_block + (kz * p.kernel_h + ky) * group_in * p.kernel_w * kChannels;
            for (int kx = 0; kx < p.kernel_w; kx += kTaps) {
                int x0 = ow0 * p.stride_w - p.padding_w + kx * p.dilation_w;
                int at = push.x_base + n * push.x_stride_n + group * group_in * push.x_stride_c +
                         z * push.x_stride_d + y0 * push.x_stride_h + x0 * push.x_stride_w;
                for (int c = 0; c < group_in;) {
                    int plane = 0;
                    int end = group_in;
                    if (kMaskMulti != 0) {
                        int run = runOf(group * group_in + c, channels);
                        plane = planeOfRun(run);
                        end = min(end, endOfRun(run) - group * group_in);
                    }
                    loadMask(n, plane, z, y0, x0);
                    for (; c < end; ++c) {
                        loadInput(at + c * push.x_stride_c);
                        accumulate(weight_row + (c * p.kernel_w + kx) * kChannels);
                    }
                }
            }
        }
    if (first + int(gl_LocalInvocationID.x) < push.end) store(n, block, group, od, oh0, ow0);
}
