// Brings the planes of a mask segment into the form the other kernels read: bit planes with margins of zeros, or f32
// planes; 1 is valid in both.
#version 450
#extension GL_GOOGLE_include_directive : require

#include "window.glsl"

layout(constant_id = SPEC_MASK_KIND) const int kMaskKind = MASK_BITS;

layout(binding = 0) restrict readonly buffer Source {
    uint source[];
};
layout(binding = 1) restrict writeonly buffer Packed {
    uint packed[];
};

layout(push_constant) uniform Push {
    int rows_d, rows_h, width;          // of one plane
    int row0, row_count;                // this dispatch's rows among all of the segment's, planes before rows
    int planes;                         // of this segment
    int stride_n, stride_p, stride_d, stride_h;
    int source_base;                    // element of row 0, in the bound range
    int source_words;                   // of the bound range
    int packed_base, packed_stride_n;   // words
    int row_words;
    int hole_is_one;
} push;

// Bytes first .. first + 31 as bits, 1 where a byte is not 0.
uint nonZeroBytes(int first) {
    uint bits = 0u;
    uint shift = (uint(first) & 3u) * 8u;
    int word = first >> 2;
    uint next = source[clamp(word, 0, push.source_words - 1)];
    for (int i = 0; i < 8; ++i) {
        uint low = next;
        next = source[clamp(word + i + 1, 0, push.source_words - 1)];
        uint four = shift == 0u ? low : (low >> shift) | (next << (32u - shift));
        uint full = (four | ((four & 0x7F7F7F7Fu) + 0x7F7F7F7Fu)) >> 7 & 0x01010101u;  // in each byte
        bits |= (full * 0x10204080u >> 28) << uint(4 * i);
    }
    return bits;
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    int row = push.row0 + id / push.row_words;
    int word = id % push.row_words;
    if (row >= push.row0 + push.row_count) return;
    int y = row % push.rows_h;
    int z = row / push.rows_h % push.rows_d;
    int plane = row / (push.rows_h * push.rows_d) % push.planes;
    int n = row / (push.rows_h * push.rows_d) / push.planes;
    int from = push.source_base + n * push.stride_n + plane * push.stride_p + z * push.stride_d + y * push.stride_h;
    int to = push.packed_base + n * push.packed_stride_n +
             ((plane * push.rows_d + z) * push.rows_h + y) * push.row_words + word;
    if (kMaskKind == MASK_FRACTIONAL) {
        float value = uintBitsToFloat(source[from + word]);
        packed[to] = floatBitsToUint(push.hole_is_one != 0 ? 1.0 - value : value);
        return;
    }
    int x0 = (word - MASK_MARGIN_WORDS) * 32;
    uint bits = 0u;
    if (x0 >= 0 && x0 < push.width) {
        bits = nonZeroBytes(from + x0);
        if (push.hole_is_one != 0) bits = ~bits;
        bits &= insideBits(x0, push.width);
    }
    packed[to] = bits;
}
