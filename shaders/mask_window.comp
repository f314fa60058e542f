// Window sums of a mask on its planes, the updated mask and the ratio. An invocation makes one tile of outputs: a word
// of the mask is loaded once for all outputs of the tile that see it, and the tile is flagged once.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "window.glsl"

#define MASK_BINDING 0
#include "mask_planes.glsl"

layout(constant_id = SPEC_ROWS) const int kRows = 4;
layout(constant_id = SPEC_PIXELS) const int kPixels = 4;
layout(constant_id = SPEC_ONE_WORD) const int kOneWord = 1;
layout(constant_id = SPEC_WHOLE) const int kWhole = 1;
const int kTile = kRows * kPixels;

layout(binding = 1) restrict readonly buffer Counts {
    int counts[];  // [mask groups, planes]: how many channels of the group a plane serves
};
layout(binding = 2) writeonly buffer WindowSum {
    float window_sum[];
};
layout(binding = 2) writeonly buffer WindowSum4 {
    vec4 window_sum4[];
};
layout(binding = 3) restrict buffer UpdatedMask {
    uint updated_mask[];  // four u8 or one f32 a word
};
layout(binding = 4) writeonly buffer Ratio {
    float ratio[];
};
layout(binding = 4) writeonly buffer Ratio4 {
    vec4 ratio4[];
};
layout(binding = 5) restrict buffer Tiles {
    uint tiles[];  // a bit a tile of outputs, 1 where any output of it is valid
};
layout(binding = 6) uniform Params {
    WindowParams p;
};

layout(push_constant) uniform Push {
    int outer0, d0, row0, column0;     // this dispatch's box among [batch * groups, D, tile rows, tile columns]
    int outers, depth, rows, columns;  // and its size
    int sum_base, updated_base, ratio_base;  // elements, of the first output of all
    int mask_base;        // word of image 0's planes in the bound range
    int mask_stride_n;    // words
    int planes;
    int groups;
    int counted_channels;
    int mask_sum;         // 1: the mask_sum normalization
    float window_size;    // taps times counted channels
    float eps;
    uint taps_w;          // a bit for every column of the window that fits into a word
    uint taps_h;          // the same of rows; read where kOneWord
} push;

int count[kTile];
float sum[kMaskKind == MASK_FRACTIONAL ? kTile : 1];
float lost[kMaskKind == MASK_FRACTIONAL ? kTile : 1];  // Kahan: sums of fractions run over thousands of terms

// x / y, correctly rounded or nearly so on devices whose division is not.
float divide(float x, float y) {
    precise float q = x / y;
    precise float rest = fma(-q, y, x);
    float better = q + rest / y;
    return isinf(q) || isnan(better) ? q : better;
}

int tapsInside(int first, int taps, int dilation, int size) {
    int inside = 0;
    for (int k = 0; k < taps; ++k) {
        int at = first + k * dilation;
        inside += at >= 0 && at < size ? 1 : 0;
    }
    return inside;
}

void countInside(int z0, int y0, int x0) {
    int across[kPixels];
    int deep = tapsInside(z0, p.kernel_d, p.dilation_d, p.input_d) * push.counted_channels;
    [[unroll]] for (int i = 0; i < kPixels; ++i)
        across[i] = tapsInside(x0 + i * p.stride_w, p.kernel_w, p.dilation_w, p.input_w);
    [[unroll]] for (int r = 0; r < kRows; ++r) {
        int down = deep * tapsInside(y0 + r * p.stride_h, p.kernel_h, p.dilation_h, p.input_h);
        [[unroll]] for (int i = 0; i < kPixels; ++i) count[r * kPixels + i] = down * across[i];
    }
}

// Bits of a row from column x on; `slice` is row 0 of a plane.
uint sliceBits(int slice, int y, int x) {
    return rowBits(y >= 0 && y < p.input_h, slice + y * p.row_words, x, p.row_words);
}

// All columns that a row of the tile sees are in one word.
void countSlice(int slice, int channels, int y0, int x0) {
    int last = (kRows - 1) * p.stride_h + (p.kernel_h - 1) * p.dilation_h;
    for (int i = 0; i <= last; ++i) {
        bool seen[kRows];
        bool any = false;
        [[unroll]] for (int r = 0; r < kRows; ++r) {
            int down = i - r * p.stride_h;
            seen[r] = down >= 0 && down < 32 && (push.taps_h >> uint(down & 31) & 1u) != 0u;
            any = any || seen[r];
        }
        if (!any) continue;
        uint bits = sliceBits(slice, y0 + i, x0);
        [[unroll]] for (int j = 0; j < kPixels; ++j) {
            int found = channels * bitCount(bits >> uint(j * p.stride_w) & push.taps_w);
            [[unroll]] for (int r = 0; r < kRows; ++r) count[r * kPixels + j] += seen[r] ? found : 0;
        }
    }
}

// Windows of any width, in parts of a word.
void countWideSlice(int slice, int channels, int y0, int x0) {
    int taps_a_word = 31 / p.dilation_w + 1;
    for (int ky = 0; ky < p.kernel_h; ++ky)
        for (int k = 0; k < p.kernel_w; k += taps_a_word) {
            int taps = min(taps_a_word, p.kernel_w - k);
            uint part = push.taps_w & 0xFFFFFFFFu >> uint(31 - (taps - 1) * p.dilation_w);
            [[unroll]] for (int j = 0; j < kTile; ++j)
                count[j] += channels * bitCount(part & sliceBits(slice, y0 + j / kPixels * p.stride_h + ky * p.dilation_h,
                                                                 x0 + j % kPixels * p.stride_w + k * p.dilation_w));
        }
}

void addSlice(int slice, int channels, int y0, int x0) {
    for (int ky = 0; ky < p.kernel_h; ++ky)
        for (int kx = 0; kx < p.kernel_w; ++kx)
            [[unroll]] for (int j = 0; j < kTile; ++j) {
                int y = y0 + j / kPixels * p.stride_h + ky * p.dilation_h;
                int x = x0 + j % kPixels * p.stride_w + kx * p.dilation_w;
                if (y < 0 || y >= p.input_h || x < 0 || x >= p.input_w) continue;
                precise float term = float(channels) * mask_values[slice + y * p.row_words + x] - lost[j];
                precise float next = sum[j] + term;
                lost[j] = (next - sum[j]) - term;
                sum[j] = next;
            }
}

void windowSums(int n, int group, int z0, int y0, int x0) {
    for (int plane = 0; plane < push.planes; ++plane) {
        int channels = counts[group * push.planes + plane];
        if (channels == 0) continue;
        for (int kz = 0; kz < p.kernel_d; ++kz) {
            int z = z0 + kz * p.dilation_d;
            if (z < 0 || z >= p.input_d) continue;
            int slice = push.mask_base + n * push.mask_stride_n + (plane * p.input_d + z) * p.input_h * p.row_words;
            if (kMaskKind == MASK_FRACTIONAL)
                addSlice(slice, channels, y0, x0);
            else if (kOneWord != 0)
                countSlice(slice, channels, y0, x0);
            else
                countWideSlice(slice, channels, y0, x0);
        }
    }
}

// Bytes of up to four neighbours, which may lie in two words and share them with other invocations' where rows are not
// whole; the words were 0.
void storeBytes(int at, uint bytes) {
    int word = at >> 2;
    if (kWhole != 0) {
        updated_mask[word] = bytes;
        return;
    }
    uint shift = (uint(at) & 3u) * 8u;
    if (bytes << shift != 0u) atomicOr(updated_mask[word], bytes << shift);
    uint rest = shift == 0u ? 0u : bytes >> (32u - shift);
    if (rest != 0u) atomicOr(updated_mask[word + 1], rest);
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    int rows = id / push.columns;
    int slices = rows / push.rows;
    int outer = push.outer0 + slices / push.depth;
    if (outer >= push.outer0 + push.outers) return;
    int od = push.d0 + slices % push.depth;
    int tile_row = push.row0 + rows % push.rows;
    int tile_column = push.column0 + id % push.columns;
    int oh0 = tile_row * kRows;
    int ow0 = tile_column * kPixels;
    int z0 = od * p.stride_d - p.padding_d;
    int y0 = oh0 * p.stride_h - p.padding_h;
    int x0 = ow0 * p.stride_w - p.padding_w;
    [[unroll]] for (int j = 0; j < kTile; ++j) {
        count[j] = 0;
        if (kMaskKind == MASK_FRACTIONAL) sum[j] = lost[j] = 0.0;
    }
    if (kMaskKind == MASK_NONE)
        countInside(z0, y0, x0);
    else
        windowSums(outer / push.groups, outer % push.groups, z0, y0, x0);

    bool any = false;
    [[unroll]] for (int r = 0; r < kRows; ++r) {
        if (oh0 + r >= p.output_h) continue;
        int at = ((outer * p.output_d + od) * p.output_h + oh0 + r) * p.output_w + ow0;
        float s[kPixels];
        float u[kPixels];
        float q[kPixels];
        uint bytes = 0u;
        [[unroll]] for (int i = 0; i < kPixels; ++i) {
            s[i] = kMaskKind == MASK_FRACTIONAL ? sum[r * kPixels + i] : float(count[r * kPixels + i]);
            u[i] = push.mask_sum != 0 ? (s[i] > 0.0 ? 1.0 : 0.0) : clamp(s[i], 0.0, 1.0);
            q[i] = 0.0;
            if (u[i] > 0.0)
                q[i] = push.mask_sum != 0 ? divide(1.0, s[i]) : divide(push.window_size, s[i] + push.eps) * u[i];
            if (ow0 + i >= p.output_w) continue;
            any = any || u[i] > 0.0;
            bytes |= uint(u[i]) << uint(8 * i);
            if (kWhole == 0) {
                window_sum[push.sum_base + at + i] = s[i];
                ratio[push.ratio_base + at + i] = q[i];
            }
            if (kMaskKind == MASK_FRACTIONAL) updated_mask[push.updated_base + at + i] = floatBitsToUint(u[i]);
        }
        if (kWhole != 0) {
            window_sum4[(push.sum_base + at) >> 2] = vec4(s[0], s[kPixels / 4], s[kPixels / 2], s[kPixels - 1]);
            ratio4[(push.ratio_base + at) >> 2] = vec4(q[0], q[kPixels / 4], q[kPixels / 2], q[kPixels - 1]);
        }
        if (kMaskKind != MASK_FRACTIONAL) storeBytes(push.updated_base + at, bytes);
    }
    if (any) {
        int tile = (od * p.tile_rows + tile_row) * p.tile_columns + tile_column;
        atomicOr(tiles[outer * p.tile_words + (tile >> 5)], 1u << (uint(tile) & 31u));
    }
}
