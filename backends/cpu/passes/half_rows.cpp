#include "cpu/passes/half_rows.h"

#include "core/half.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <cpuid.h>
#include <immintrin.h>
#define PCONV_HALF_X86
#endif

namespace pconv::cpu {

namespace {

#if defined(PCONV_HALF_X86)

bool hasHalfInstructions() {
    static const bool has = [] {
        // Clang's __builtin_cpu_supports does not know f16c.
        unsigned int a = 0;
        unsigned int b = 0;
        unsigned int c = 0;
        unsigned int d = 0;
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
    }();
    return has;
}

// Both return how many elements of the row they did.
__attribute__((target("avx2,f16c"))) int64_t widenF16(float* to, const uint16_t* from, int64_t size) {
    int64_t i = 0;
    for (; i + 8 <= size; i += 8)
        _mm256_storeu_ps(to + i,
                         _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i))));
    return i;
}

__attribute__((target("avx2,f16c"))) int64_t narrowF16(uint16_t* to, const float* from, int64_t size) {
    int64_t i = 0;
    for (; i + 8 <= size; i += 8)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT));
    return i;
}

#endif

}  // namespace

void widenRow(DataType type, float* to, const uint16_t* from, int64_t size) {
    if (type == DataType::bf16) {
        for (int64_t i = 0; i < size; ++i) to[i] = floatFromBf16(from[i]);
        return;
    }
    int64_t i = 0;
#if defined(PCONV_HALF_X86)
    if (hasHalfInstructions()) i = widenF16(to, from, size);
#endif
    for (; i < size; ++i) to[i] = floatFromF16(from[i]);
}

void narrowRow(DataType type, uint16_t* to, const float* from, int64_t size) {
    if (type == DataType::bf16) {
        for (int64_t i = 0; i < size; ++i) to[i] = bf16FromFloat(from[i]);
        return;
    }
    int64_t i = 0;
#if defined(PCONV_HALF_X86)
    if (hasHalfInstructions()) i = narrowF16(to, from, size);
#endif
    for (; i < size; ++i) to[i] = f16FromFloat(from[i]);
}

}  // namespace pconv::cpu
