// A tensor's elements: f32, f16, or bf16 by its bits. Kernels compute in f32.
#ifndef ELEMENT_GLSL
#define ELEMENT_GLSL

#if defined(STORAGE_F16)
#extension GL_EXT_shader_16bit_storage : require
#define ELEMENT float16_t
#define FROM_ELEMENT(e) float(e)
#define TO_ELEMENT(v) float16_t(v)
#elif defined(STORAGE_BF16)
#extension GL_EXT_shader_16bit_storage : require
#define ELEMENT uint16_t
#define FROM_ELEMENT(e) uintBitsToFloat(uint(e) << 16u)
#define TO_ELEMENT(v) uint16_t(bf16Bits(v))
#else
#define ELEMENT float
#define FROM_ELEMENT(e) (e)
#define TO_ELEMENT(v) (v)
#endif

// To the nearest, ties to even; what is not a number stays so.
uint bf16Bits(float value) {
    uint bits = floatBitsToUint(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return bits >> 16u | 0x40u;
    return (bits + 0x7FFFu + (bits >> 16u & 1u)) >> 16u;
}

#endif
