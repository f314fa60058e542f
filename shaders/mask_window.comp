// Window sums of a mask on its planes, the updated mask and the ratio. An invocation makes four neighbouring outputs, so
// that u8 results are written as whole words.
#version 450
#extension GL_GOOGLE_include_directive : require

#include "window.glsl"

layout(binding = 0) restrict readonly buffer MaskBits {
    uint mask_bits[];
};
layout(binding = 0) restrict readonly buffer MaskValues {
    float mask_values[];
};
layout(binding = 1) restrict readonly buffer Counts {
    int counts[];  // [mask groups, planes]: how many channels of the group a plane serves
};
layout(binding = 2) restrict writeonly buffer WindowSum {
    float window_sum[];
};
layout(binding = 3) restrict writeonly buffer UpdatedMask {
    uint updated_mask[];  // four u8 or one f32 a word
};
layout(binding = 4) restrict writeonly buffer Ratio {
    float ratio[];
};
layout(binding = 5) restrict buffer Tiles {
    uint tiles[];  // a bit a tile of outputs, 1 where any output of it is valid
};
layout(binding = 6) uniform Params {
    WindowParams p;
};

layout(push_constant) uniform Push {
    int first, end;       // outputs of this dispatch among [batch, groups, D, H, W]
    int mask_base;        // word of image 0's planes in the bound range
    int mask_stride_n;    // words
    int planes;
    int groups;
    int counted_channels;
    int mask_sum;         // 1: the mask_sum normalization
    float window_size;    // taps times counted channels
    float eps;
} push;

// x / y, correctly rounded or nearly so on devices whose division is not.
float divide(float x, float y) {
    precise float q = x / y;
    precise float rest = fma(-q, y, x);
    float better = q + rest / y;
    return isinf(q) || isnan(better) ? q : better;
}

int tapsInside(int first, int taps, int dilation, int size) {
    int count = 0;
    for (int k = 0; k < taps; ++k) {
        int at = first + k * dilation;
        count += at >= 0 && at < size ? 1 : 0;
    }
    return count;
}

int countRow(int row, int x0) {
    int taps_a_word = 31 / p.dilation_w + 1;
    int count = 0;
    for (int k = 0; k < p.kernel_w; k += taps_a_word) {
        int x = x0 + k * p.dilation_w;
        int word = row + bitWord(x, p.row_words);
        uint bits = joinBits(mask_bits[word], mask_bits[word + 1], x);
        int taps = min(taps_a_word, p.kernel_w - k);
        if (p.dilation_w == 1) {
            if (taps < 32) bits &= (1u << uint(taps)) - 1u;
            count += bitCount(bits);
        } else {
            for (int i = 0; i < taps; ++i) count += int(bits >> uint(i * p.dilation_w)) & 1;
        }
    }
    return count;
}

float windowSum(int n, int group, int od, int oh, int ow) {
    int z0 = od * p.stride_d - p.padding_d;
    int y0 = oh * p.stride_h - p.padding_h;
    int x0 = ow * p.stride_w - p.padding_w;
    if (kMaskKind == MASK_NONE)
        return float(tapsInside(z0, p.kernel_d, p.dilation_d, p.input_d) *
                     tapsInside(y0, p.kernel_h, p.dilation_h, p.input_h) *
                     tapsInside(x0, p.kernel_w, p.dilation_w, p.input_w) * push.counted_channels);
    int count = 0;
    precise float sum = 0.0;
    precise float lost = 0.0;  // Kahan: sums of fractions run over thousands of terms
    for (int plane = 0; plane < push.planes; ++plane) {
        int channels = counts[group * push.planes + plane];
        if (channels == 0) continue;
        for (int kz = 0; kz < p.kernel_d; ++kz)
            for (int ky = 0; ky < p.kernel_h; ++ky) {
                int z = z0 + kz * p.dilation_d;
                int y = y0 + ky * p.dilation_h;
                if (z < 0 || z >= p.input_d || y < 0 || y >= p.input_h) continue;
                int row = push.mask_base + n * push.mask_stride_n +
                          ((plane * p.input_d + z) * p.input_h + y) * p.row_words;
                if (kMaskKind == MASK_BITS) {
                    count += channels * countRow(row, x0);
                    continue;
                }
                for (int kx = 0; kx < p.kernel_w; ++kx) {
                    int x = x0 + kx * p.dilation_w;
                    if (x < 0 || x >= p.input_w) continue;
                    precise float term = float(channels) * mask_values[row + x] - lost;
                    precise float next = sum + term;
                    lost = (next - sum) - term;
                    sum = next;
                }
            }
    }
    return kMaskKind == MASK_BITS ? float(count) : sum;
}

void main() {
    int start = push.first + 4 * int(gl_GlobalInvocationID.x);
    if (start >= push.end) return;
    int image = p.output_d * p.output_h * p.output_w;
    uint bytes = 0u;
    for (int i = 0; i < 4 && start + i < push.end; ++i) {
        int at = start + i;
        int inner = at % image;
        int outer = at / image;
        int ow = inner % p.output_w;
        int oh = inner / p.output_w % p.output_h;
        int od = inner / (p.output_w * p.output_h);
        float s = windowSum(outer / push.groups, outer % push.groups, od, oh, ow);
        float u = push.mask_sum != 0 ? (s > 0.0 ? 1.0 : 0.0) : clamp(s, 0.0, 1.0);
        float r = 0.0;
        if (u > 0.0) r = push.mask_sum != 0 ? divide(1.0, s) : divide(push.window_size, s + push.eps) * u;
        window_sum[at - push.first] = s;
        ratio[at - push.first] = r;
        if (kMaskKind == MASK_FRACTIONAL)
            updated_mask[at - push.first] = floatBitsToUint(u);
        else
            bytes |= uint(u) << uint(8 * i);
        if (u > 0.0) {
            int tile = (od * p.tile_rows + oh / p.tile_h) * p.tile_columns + ow / p.tile_w;
            atomicOr(tiles[outer * p.tile_words + (tile >> 5)], 1u << (uint(tile) & 31u));
        }
    }
    if (kMaskKind != MASK_FRACTIONAL) updated_mask[(start - push.first) / 4] = bytes;
}
