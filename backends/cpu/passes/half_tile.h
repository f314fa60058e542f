// Tiles of as many pixels as a vector has lanes and half as many channels: what blocks of half a vector's
// channels are made of. Only for files built once per instruction set.
#pragma once

#include "cpu/passes/vector.h"

namespace pconv::cpu {

namespace {

constexpr int kHalf = kLanes / 2;

using Half = float __attribute__((vector_size(kHalf * 4)));
using HalfLanes = std::make_integer_sequence<int, kHalf>;

template <int... i>
PCONV_INLINE Half lowHalf(Vec v, std::integer_sequence<int, i...> /*lanes*/) {
    return __builtin_shufflevector(v, v, i...);
}

template <int... i>
PCONV_INLINE Half highHalf(Vec v, std::integer_sequence<int, i...> /*lanes*/) {
    return __builtin_shufflevector(v, v, (i + kHalf)...);
}

template <int... i>
PCONV_INLINE Vec joinHalves(Half low, Half high, std::integer_sequence<int, i...> /*lanes*/) {
    return __builtin_shufflevector(low, high, i...);
}

// The other half is 0.
PCONV_INLINE Vec loadHalf(const float* from) {
    return joinHalves(loadAs<Half>(from), Half{}, Lanes{});
}

PCONV_INLINE void storeHalf(float* to, Vec v) {
    const Half half = lowHalf(v, HalfLanes{});
    __builtin_memcpy(to, &half, sizeof half);
}

// Half a vector or a whole one.
template <bool half>
PCONV_INLINE Vec loadSome(const float* from) {
    if constexpr (half) return loadHalf(from);
    return load(from);
}

template <bool half>
PCONV_INLINE void storeSome(float* to, Vec v) {
    if constexpr (half)
        storeHalf(to, v);
    else
        store(to, v);
}

template <int step>
PCONV_INLINE void transposeHalfFrom(Vec* rows) {
    if constexpr (step < kHalf) {
#pragma GCC unroll 8
        for (int i = 0; i < kHalf; ++i)
            if ((i & step) == 0) exchange<step>(rows[i], rows[i + step], Lanes{});
        transposeHalfFrom<step * 2>(rows);
    }
}

// Row c with a lane for each pixel becomes row p with the channels of pixel p in its low half and those of
// pixel p + kHalf in its high half, and the other way round.
PCONV_INLINE void transposeHalf(Vec* rows) {
    transposeHalfFrom<1>(rows);
}

// Rows as transposeHalf leaves them, from and to pixels `pitch` apart.
PCONV_INLINE void loadPixelPairs(Vec* rows, const float* from, int64_t pitch) {
#pragma GCC unroll 8
    for (int i = 0; i < kHalf; ++i)
        rows[i] =
            joinHalves(loadAs<Half>(from + i * pitch), loadAs<Half>(from + (i + kHalf) * pitch), Lanes{});
}

PCONV_INLINE void storePixelPairs(const Vec* rows, float* to, int64_t pitch) {
#pragma GCC unroll 8
    for (int i = 0; i < kHalf; ++i) {
        const Half low = lowHalf(rows[i], HalfLanes{});
        const Half high = highHalf(rows[i], HalfLanes{});
        __builtin_memcpy(to + i * pitch, &low, sizeof low);
        __builtin_memcpy(to + (i + kHalf) * pitch, &high, sizeof high);
    }
}

}  // namespace

}  // namespace pconv::cpu
