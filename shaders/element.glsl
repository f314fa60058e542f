// A tensor's elements: f32, or f16 and bf16 by their bits, alone or four at once. Kernels compute in f32.
#ifndef ELEMENT_GLSL
#define ELEMENT_GLSL

#if defined(STORAGE_F16)
#extension GL_EXT_shader_16bit_storage : require
#define ELEMENT uint16_t
#define FROM_ELEMENT(e) unpackHalf2x16(uint(e)).x
#define TO_ELEMENT(v) uint16_t(f16Bits(v))
#define ELEMENT4 uvec2
#define FROM_ELEMENT4(e) fromPairs(e)
#elif defined(STORAGE_BF16)
#extension GL_EXT_shader_16bit_storage : require
#define ELEMENT uint16_t
#define FROM_ELEMENT(e) uintBitsToFloat(uint(e) << 16u)
#define TO_ELEMENT(v) uint16_t(bf16Bits(v))
#define ELEMENT4 uvec2
#define FROM_ELEMENT4(e) fromPairs(e)
#else
#define ELEMENT float
#define FROM_ELEMENT(e) (e)
#define TO_ELEMENT(v) (v)
#define ELEMENT4 vec4
#define FROM_ELEMENT4(e) (e)
#endif

#if defined(STORAGE_F16)
vec4 fromPairs(uvec2 pairs) {
    return vec4(unpackHalf2x16(pairs.x), unpackHalf2x16(pairs.y));
}
#elif defined(STORAGE_BF16)
vec4 fromPairs(uvec2 pairs) {
    return uintBitsToFloat(uvec4(pairs.x << 16u, pairs.x & 0xFFFF0000u, pairs.y << 16u, pairs.y & 0xFFFF0000u));
}
#endif

// To the nearest, ties to even, whatever the device's own conversion does.
uint f16Bits(float value) {
    uint bits = floatBitsToUint(value);
    uint sign = bits >> 16u & 0x8000u;
    uint magnitude = bits & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u) return sign | 0x7E00u;
    if (magnitude >= 0x477FF000u) return sign | 0x7C00u;
    if (magnitude >= 0x38800000u) {
        uint rebased = magnitude - 0x38000000u;
        return sign | ((rebased + 0xFFFu + (rebased >> 13u & 1u)) >> 13u);
    }
    uint exponent = magnitude >> 23u;
    if (exponent < 102u) return sign;
    uint mantissa = (magnitude & 0x7FFFFFu) | 0x800000u;
    uint shift = 126u - exponent;
    uint kept = mantissa >> shift;
    uint rest = mantissa & ((1u << shift) - 1u);
    uint half_unit = 1u << (shift - 1u);
    return sign | (kept + (rest > half_unit || (rest == half_unit && (kept & 1u) != 0u) ? 1u : 0u));
}

// To the nearest, ties to even; what is not a number stays so.
uint bf16Bits(float value) {
    uint bits = floatBitsToUint(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return bits >> 16u | 0x40u;
    return (bits + 0x7FFFu + (bits >> 16u & 1u)) >> 16u;
}

#endif
