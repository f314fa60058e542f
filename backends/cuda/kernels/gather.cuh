// A convolution, or the gradient of its input, as a matrix product with gathered rows: for each row (a
// position of the destination) and each tap, a position of the source.
//
// The gradient of a strided convolution falls into classes: the positions of the input with one remainder by
// the stride meet the same taps, and within a class the product has the form of a convolution of stride 1.
#pragma once

#include "cuda/kernels/kernels.h"
#include "launch.cuh"

namespace pconv::cuda {

struct GatherAxis {
    int rows;         // positions of the destination, or of the class
    int destination;  // extent of the destination
    int source;       // extent of the source
    int kernel;
    int row_step;  // destination position = row * row_step + phase
    int stride, padding, dilation;
    int tap_step;     // backward: taps of one class lie this far apart
    int offset_step;  // backward: and their source positions this far
};

struct Gather {
    int batch;
    int classes;
    GatherAxis axes[3];
};

// One axis as a block sees it: source = row * base_step + base + i * offset_step for tap first_tap + i *
// tap_step, i < count.
struct GatherTaps {
    int count, first_tap, tap_step, base_step, base, offset_step;
    int rows, row_step, phase, source;
};

template <bool backward>
__device__ __forceinline__ GatherTaps gatherTaps(const GatherAxis& axis, int phase) {
    GatherTaps taps;
    taps.source = axis.source;
    taps.row_step = axis.row_step;
    taps.phase = phase;
    if (!backward) {
        taps.count = axis.kernel;
        taps.first_tap = 0;
        taps.tap_step = 1;
        taps.base_step = axis.stride;
        taps.base = -axis.padding;
        taps.offset_step = axis.dilation;
        taps.rows = axis.rows;
        return taps;
    }
    taps.rows = (axis.destination - phase + axis.stride - 1) / axis.stride;
    taps.tap_step = axis.tap_step;
    taps.base_step = 1;
    taps.offset_step = axis.offset_step;
    taps.first_tap = 0;
    int at = phase + axis.padding;  // the stride times the source position of a tap
    while (taps.first_tap < axis.tap_step && at % axis.stride != 0) {
        ++taps.first_tap;
        at -= axis.dilation;
    }
    const bool some = taps.first_tap < axis.tap_step && taps.first_tap < axis.kernel;
    taps.base = some ? at / axis.stride : 0;
    taps.count = some ? (axis.kernel - taps.first_tap + axis.tap_step - 1) / axis.tap_step : 0;
    return taps;
}

template <bool backward>
__device__ __forceinline__ void gatherBlock(const Gather& gather, int index, GatherTaps (&taps)[3]) {
    for (int axis = 2; axis >= 0; --axis) {
        const int phases = backward ? gather.axes[axis].row_step : 1;
        const int limited = phases < gather.axes[axis].destination ? phases : gather.axes[axis].destination;
        taps[axis] = gatherTaps<backward>(gather.axes[axis], backward ? index % limited : 0);
        if (backward) index /= limited;
    }
}

// The product's host side.
inline Gather forwardGather(const ConvShape& s) {
    Gather gather{};
    gather.batch = s.batch;
    gather.classes = 1;
    for (int d = 0; d < 3; ++d)
        gather.axes[d] = {s.output[d], s.output[d],  s.input[d],    s.kernel[d], 1,
                          s.stride[d], s.padding[d], s.dilation[d], 1,           s.dilation[d]};
    return gather;
}

inline int greatestCommonDivisor(int a, int b) {
    while (b != 0) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

inline Gather backwardGather(const ConvShape& s) {
    Gather gather{};
    gather.batch = s.batch;
    gather.classes = 1;
    for (int d = 0; d < 3; ++d) {
        const int common = greatestCommonDivisor(s.stride[d], s.dilation[d]);
        gather.axes[d] = {ceilDivide(s.input[d], s.stride[d]),
                          s.input[d],
                          s.output[d],
                          s.kernel[d],
                          s.stride[d],
                          s.stride[d],
                          s.padding[d],
                          s.dilation[d],
                          s.stride[d] / common,
                          -s.dilation[d] / common};
        gather.classes *= s.stride[d] < s.input[d] ? s.stride[d] : s.input[d];
    }
    return gather;
}

// Rows of the largest class.
inline int gatherRows(const Gather& gather) {
    return gather.batch * gather.axes[0].rows * gather.axes[1].rows * gather.axes[2].rows;
}

}  // namespace pconv::cuda
