// Copies a box of elements between tensors of any data types and strides, rounding to the nearest.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#ifdef STORAGE_16
#extension GL_EXT_shader_16bit_storage : require
#endif

#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) readonly buffer Source {
    uint source[];
};
layout(binding = 1) writeonly buffer Destination {
    uint destination[];
};
#ifdef STORAGE_16
layout(binding = 0) readonly buffer Source16 {
    uint16_t source_16[];
};
layout(binding = 1) writeonly buffer Destination16 {
    uint16_t destination_16[];
};
#endif

layout(push_constant) uniform Push {
    int begin_n, begin_c, begin_d, begin_h, begin_w;
    int size_c, size_d, size_h, size_w;  // of the box
    int from_n, from_c, from_d, from_h, from_w;
    int to_n, to_c, to_d, to_h, to_w;
    int from_base, to_base;
    int from_type, to_type;  // 0 f32, 1 f16, 2 bf16
    int count;
} push;

// Exact, and numbers below the normal ones are kept.
float fromF16(uint bits) {
    uint sign = (bits & 0x8000u) << 16u;
    uint exponent = bits >> 10u & 31u;
    uint mantissa = bits & 0x3FFu;
    if (exponent == 31u) return uintBitsToFloat(sign | 0x7F800000u | mantissa << 13u);
    if (exponent != 0u) return uintBitsToFloat(sign | (exponent + 112u) << 23u | mantissa << 13u);
    float value = float(mantissa) * (1.0 / 16777216.0);
    return sign != 0u ? -value : value;
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    int w = push.begin_w + id % push.size_w;
    id /= push.size_w;
    int h = push.begin_h + id % push.size_h;
    id /= push.size_h;
    int d = push.begin_d + id % push.size_d;
    id /= push.size_d;
    int c = push.begin_c + id % push.size_c;
    int n = push.begin_n + id / push.size_c;
    int from = push.from_base + n * push.from_n + c * push.from_c + d * push.from_d + h * push.from_h + w * push.from_w;
    int to = push.to_base + n * push.to_n + c * push.to_c + d * push.to_d + h * push.to_h + w * push.to_w;
#ifdef STORAGE_16
    if (push.from_type == push.to_type && push.from_type != 0) {
        destination_16[to] = source_16[from];
        return;
    }
    uint bits;
    if (push.from_type == 0)
        bits = source[from];
    else if (push.from_type == 1)
        bits = floatBitsToUint(fromF16(uint(source_16[from])));
    else
        bits = uint(source_16[from]) << 16u;
    if (push.to_type == 0)
        destination[to] = bits;
    else
        destination_16[to] =
            uint16_t(push.to_type == 1 ? f16Bits(uintBitsToFloat(bits)) : bf16Bits(uintBitsToFloat(bits)));
#else
    destination[to] = source[from];
#endif
}
