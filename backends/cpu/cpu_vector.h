// Vectors as wide as the instruction set a file is built for, and the transpose of a square of them. Only for
// files built once per instruction set: everything here has internal linkage, for a linker must not pick one
// set's copy for another.
#pragma once

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
using Bits = int32_t __attribute__((vector_size(kLanes * 4)));
using Bytes = uint8_t __attribute__((vector_size(kLanes)));
using Lanes = std::make_integer_sequence<int, kLanes>;

template <typename V, typename T>
PCONV_INLINE V loadAs(const T* from) {
    V v;
    __builtin_memcpy(&v, from, sizeof(V));
    return v;
}

template <typename V, typename T>
PCONV_INLINE V loadPartAs(const T* from, int64_t count) {
    V v{};
    __builtin_memcpy(&v, from, static_cast<size_t>(count) * sizeof(T));
    return v;
}

PCONV_INLINE Vec load(const float* from) {
    return loadAs<Vec>(from);
}

PCONV_INLINE void store(float* to, Vec v) {
    __builtin_memcpy(to, &v, sizeof v);
}

PCONV_INLINE Vec loadPart(const float* from, int64_t count) {
    return loadPartAs<Vec>(from, count);
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

}  // namespace

}  // namespace pconv::cpu
