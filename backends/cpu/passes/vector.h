// Vectors as wide as the instruction set a file is built for, and the transpose of a square of them. Only for
// files built once per instruction set: everything here has internal linkage, for a linker must not pick one
// set's copy for another.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstddef>
#include <cstdint>
#include <utility>

namespace pconv::cpu {

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

#define PCONV_INLINE inline __attribute__((always_inline))

using Vec = float __attribute__((vector_size(kLanes * 4)));
using DoubleVec = double __attribute__((vector_size(kLanes * 4)));
using Bits = int32_t __attribute__((vector_size(kLanes * 4)));
using Lanes = std::make_integer_sequence<int, kLanes>;

template <typename V, typename T>
PCONV_INLINE V loadAs(const T* from) {
    V v;
    __builtin_memcpy(&v, from, sizeof(V));
    return v;
}

PCONV_INLINE Vec load(const float* from) {
    return loadAs<Vec>(from);
}

PCONV_INLINE Vec loadPart(const float* from, int64_t count) {
    Vec v{};
    __builtin_memcpy(&v, from, static_cast<size_t>(count) * sizeof(float));
    return v;
}

// All bits of the lanes whose byte is not 0. By name, for GCC 12 takes a general conversion apart byte by
// byte.
PCONV_INLINE Bits loadNonzero(const uint8_t* from) {
#if defined(__AVX512F__)
    return reinterpret_cast<Bits>(_mm512_maskz_cvtepu8_epi32(0xFFFF, loadAs<__m128i>(from))) != 0;
#elif defined(__AVX2__)
    return reinterpret_cast<Bits>(
               _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)))) != 0;
#else
    const Bits bytes{from[0], from[1], from[2], from[3]};
    return bytes != 0;
#endif
}

PCONV_INLINE Bits loadNonzeroPart(const uint8_t* from, int64_t count) {
    uint8_t bytes[kLanes]{};
    __builtin_memcpy(bytes, from, static_cast<size_t>(count));
    return loadNonzero(bytes);
}

PCONV_INLINE void store(float* to, Vec v) {
    __builtin_memcpy(to, &v, sizeof v);
}

PCONV_INLINE void storePart(float* to, Vec v, int64_t count) {
    __builtin_memcpy(to, &v, static_cast<size_t>(count) * sizeof(float));
}

PCONV_INLINE Vec select(Vec v, Bits where) {
    return reinterpret_cast<Vec>(reinterpret_cast<Bits>(v) & where);
}

// Exchanges the lanes of a and b that differ in the bit `step` of their index.
template <int step, int... i>
PCONV_INLINE void exchange(Vec& a, Vec& b, std::integer_sequence<int, i...> /*lanes*/) {
    const Vec low = __builtin_shufflevector(a, b, ((i & step) != 0 ? kLanes + i - step : i)...);
    b = __builtin_shufflevector(a, b, ((i & step) != 0 ? kLanes + i : i + step)...);
    a = low;
}

template <int step>
PCONV_INLINE void transposeFrom(Vec* rows) {
    if constexpr (step < kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i)
            if ((i & step) == 0) exchange<step>(rows[i], rows[i + step], Lanes{});
        transposeFrom<step * 2>(rows);
    }
}

PCONV_INLINE void transpose(Vec* rows) {
    transposeFrom<1>(rows);
}

// One lane of each of two to four vectors in turn: the part-th vector of the result.
template <int count, int part, int... i>
PCONV_INLINE Vec interleaved(const Vec* in, std::integer_sequence<int, i...> /*lanes*/) {
    constexpr int kFirst = part * kLanes;
    Vec out = __builtin_shufflevector(in[0], in[1],
                                      ((kFirst + i) / count + ((kFirst + i) % count == 1 ? kLanes : 0))...);
    if constexpr (count > 2)
        out = __builtin_shufflevector(out, in[2],
                                      ((kFirst + i) % count == 2 ? (kFirst + i) / count + kLanes : i)...);
    if constexpr (count > 3)
        out = __builtin_shufflevector(out, in[3],
                                      ((kFirst + i) % count == 3 ? (kFirst + i) / count + kLanes : i)...);
    return out;
}

template <int count, int part = 0>
PCONV_INLINE void storeInterleavedVectors(float* to, const Vec* in) {
    if constexpr (part < count) {
        store(to + part * kLanes, interleaved<count, part>(in, Lanes{}));
        storeInterleavedVectors<count, part + 1>(to, in);
    }
}

}  // namespace

}  // namespace pconv::cpu
