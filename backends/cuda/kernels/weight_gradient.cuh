// What the weight gradients of direct and igemm share: products over all outputs are split into slices, whose
// partial sums are then added in a fixed order.
#pragma once

#include "kernel_support.cuh"

namespace pconv::cuda {

// Slices of `outputs` so that `tiles` of them are two blocks for each multiprocessor, each at least
// kSliceOutputs long.
constexpr int kSliceOutputs = 512;

inline int gradientSlices(const ConvShape& shape, int tiles, int outputs) {
    const int wanted = ceilDivide(2 * shape.multiprocessors, tiles);
    const int most = ceilDivide(outputs, kSliceOutputs);
    return wanted < most ? wanted : most;
}

// gradient [out_channels][group_in][taps] from partial sums [slices][out_channels][taps * pitch], channels
// within taps.
cudaError_t launchSumSlices(const ConvShape& shape, DataType type, const float* partials, int slices,
                            int pitch, void* gradient, bool accumulate, cudaStream_t stream);

// The weight gradient of cuda:direct. dc: f32, any strides.
size_t directWeightPartialBytes(const ConvShape& shape);
cudaError_t launchDirectWeightGradient(const ConvProblem& problem, const View& input, const View& dc,
                                       float* partials, void* gradient, bool accumulate, cudaStream_t stream);
cudaError_t launchDirectInputGradient(const ConvProblem& problem, const View& dc, const void* packed_weight,
                                      const View& gradient, bool accumulate, cudaStream_t stream);

// The memory of dc, channels-last with `channels` a group.
size_t gradientBytes(const ConvShape& shape, DataType type, int channels);
View gradientView(const ConvShape& shape, void* data, int channels);

}  // namespace pconv::cuda
