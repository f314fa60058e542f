// What packing the mask and counting its windows both know of a problem.
#pragma once

#include <climits>

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

constexpr int kByteTaps = 255;       // of a window whose count is a byte
constexpr int kHalfCounts = 0xFFFF;  // the most that half a word counts
constexpr int kWarpOutputs = 128;    // of a row, where windows are counted four outputs a thread

// Whether 32 bits number all elements of `source_planes` planes an image, and all warps that count windows.
inline bool fitsCount(const MaskProblem& p, int source_planes) {
    const ConvShape& s = p.shape;
    const int64_t warps =
        int64_t{p.batch} * maskGroups(p) * s.output[0] * s.output[1] * ceilDivide(s.output[2], kWarpOutputs);
    return warps <= INT_MAX && int64_t{p.batch} * source_planes * volumeOf(s.input) <= INT_MAX;
}

// 1 in each part of a word.
template <typename Part>
constexpr uint32_t kOnes = sizeof(Part) == 1 ? 0x01010101U : 0x00010001U;

// 1 in each part that is not 0 in `word`.
template <typename Part>
__device__ __forceinline__ uint32_t onesOf(uint32_t word) {
    constexpr int kHighest = 8 * static_cast<int>(sizeof(Part)) - 1;
    constexpr uint32_t kOthers = ~(kOnes<Part> << kHighest);
    return (((word & kOthers) + kOthers) | word) >> kHighest & kOnes<Part>;
}

// How planes are added over the channels of a group, before windows are: not, where one plane serves all; in
// halves of words, where a window's sum fits; in ints; or in float64.
enum class MaskSums { none, halves, ints, doubles };

MaskSums maskSums(const MaskProblem& p);

// Packs the planes and adds them as `sums` says; clears the tiles' flags.
cudaError_t launchMaskPlanes(const MaskProblem& p, MaskSums sums, cudaStream_t stream);

struct WindowParameters {
    ConvShape shape;
    int batch, groups;  // of the mask
    int counted;
    float window, eps;
    Normalization normalization;
    bool binary;
    float* window_sum;
    void* updated;
    float* ratio;
    uint32_t* tile_flags;
};

inline WindowParameters windowParameters(const MaskProblem& p) {
    const ConvShape& s = p.shape;
    WindowParameters k{};
    k.shape = s;
    k.batch = p.batch;
    k.groups = maskGroups(p);
    k.counted = countedChannels(p);
    k.window = static_cast<float>(static_cast<int64_t>(volumeOf(s.kernel)) * k.counted);
    k.eps = p.eps;
    k.normalization = p.normalization;
    k.binary = p.type != MaskType::fractional;
    k.window_sum = p.window_sum;
    k.updated = p.updated;
    k.ratio = p.ratio;
    k.tile_flags = p.tile_flags;
    return k;
}

__device__ __forceinline__ bool isWithin(int at, int size) {
    return static_cast<unsigned>(at) < static_cast<unsigned>(size);
}

// Windows of whole numbers, four outputs of several rows a thread. `source`: bytes of 0 or 1 of one plane for
// all channels, or null for 1 everywhere, and at most kByteTaps taps; or halves of words, as maskSums says.
cudaError_t launchCountedWindows(const MaskProblem& p, const uint8_t* source, cudaStream_t stream);
cudaError_t launchCountedWindows(const MaskProblem& p, const uint16_t* source, cudaStream_t stream);

}  // namespace pconv::cuda
