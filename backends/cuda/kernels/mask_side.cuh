// What packing the mask and counting its windows both know of a problem.
#pragma once

#include "cuda/kernels/kernels.h"
#include "kernel_support.cuh"

namespace pconv::cuda {

inline int countedChannels(const MaskProblem& p) {
    return !p.multi_channel ? 1 : p.group_window ? p.shape.in_channels / p.shape.groups : p.shape.in_channels;
}

inline int maskGroups(const MaskProblem& p) {
    return p.group_window ? p.shape.groups : 1;
}

inline int tileCount(const ConvShape& s) {
    return ceilDivide(s.batch * volumeOf(s.output), kTileOutputs);
}

// Packs the planes and, with `sums`, adds them over the channels of each group; clears the tiles' flags.
cudaError_t launchMaskPlanes(const MaskProblem& p, bool sums, cudaStream_t stream);

}  // namespace pconv::cuda
