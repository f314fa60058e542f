// A convolution of rows to few output channels: sums of a stretch of a row stay in registers, an input is
// read once for all of them; a part of kernels.h.
#pragma once

#include "cpu/passes/passes.h"
#include "cpu/passes/vector.h"

namespace pconv::cpu {

namespace {

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectorRegisters = 32;
#else
constexpr int kVectorRegisters = 16;
#endif

// Vectors of a row that leave a register for each channel's weight and for an input.
constexpr int mostVectors(int outputs) {
    const int most = (kVectorRegisters - outputs - 1) / outputs;
    return most < 8 ? most : 8;
}

// Kept in a register, where the compiler would load it for each use.
PCONV_INLINE Vec held(Vec v) {
#if defined(__AVX512F__)
    __asm__("" : "+v"(v));
#elif defined(__SSE2__)
    __asm__("" : "+x"(v));
#endif
    return v;
}

template <int outputs, int vectors>
PCONV_INLINE void convolveStretch(const DirectRun& run, int64_t pixel) {
    Vec sums[outputs][vectors]{};
    const float* input = run.input + pixel;
    const float* weights = run.weights;
    for (int64_t c = 0; c < run.channels; ++c) {
        for (int64_t t = 0; t < run.tap_count; ++t) {
            const float* from = input + run.taps[t].input;
            Vec weight[outputs];
#pragma GCC unroll 4
            for (int o = 0; o < outputs; ++o) weight[o] = weights[run.taps[t].weights + o] - Vec{};
#pragma GCC unroll 8
            for (int v = 0; v < vectors; ++v) {
                const Vec x = held(load(from + v * kLanes));
#pragma GCC unroll 4
                for (int o = 0; o < outputs; ++o) sums[o][v] += x * weight[o];
            }
        }
        input += run.channel_stride;
        weights += run.weight_stride;
    }
    for (int o = 0; o < outputs; ++o)
        for (int v = 0; v < vectors; ++v) {
            float* to = run.output + o * run.output_stride + pixel + v * kLanes;
            const int64_t left = run.pixels - pixel - v * kLanes;
            const int64_t count = left < kLanes ? left : kLanes;
            if (count == kLanes)
                store(to, run.add ? load(to) + sums[o][v] : sums[o][v]);
            else
                storePart(to, run.add ? loadPart(to, count) + sums[o][v] : sums[o][v], count);
        }
}

// The row from `pixel` on, in stretches of `vectors` as long as there are so many, then of half as many.
template <int outputs, int vectors>
void convolveFrom(const DirectRun& run, int64_t pixel) {
    for (; pixel + (vectors - 1) * kLanes < run.pixels; pixel += vectors * kLanes)
        convolveStretch<outputs, vectors>(run, pixel);
    if constexpr (vectors > 1) convolveFrom<outputs, vectors / 2>(run, pixel);
}

void convolveRun(const DirectRun& run) {
    switch (run.out_channels) {
        case 1:
            return convolveFrom<1, mostVectors(1)>(run, 0);
        case 2:
            return convolveFrom<2, mostVectors(2)>(run, 0);
        case 3:
            return convolveFrom<3, mostVectors(3)>(run, 0);
        default:
            return convolveFrom<4, mostVectors(4)>(run, 0);
    }
}

}  // namespace

}  // namespace pconv::cpu
