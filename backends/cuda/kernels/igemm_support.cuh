// The host side that forward and backward of cuda:igemm share.
#pragma once

#include "igemm_tile.cuh"

namespace pconv::cuda {

// Channels in 16 bytes.
inline int igemmVector(DataType type) {
    return kVectorBytes / static_cast<int>(sizeOf(type));
}

// A group's channels in whole vectors.
inline int igemmPadded(int channels, DataType type) {
    return ceilDivide(channels, igemmVector(type)) * igemmVector(type);
}

// An input as igemm reads it: in place, or a masked copy in the workspace.
struct IgemmSource {
    View view;
    MaskReader mask;
};

// Of that copy.
size_t igemmCopyBytes(const ConvShape& shape, DataType type);
cudaError_t igemmSource(const ConvProblem& problem, const View& input, void* workspace, IgemmSource& source,
                        cudaStream_t stream);

cudaError_t launchIgemmInputGradient(const ConvProblem& problem, const View& dc, const void* packed_weight,
                                     const View& gradient, bool accumulate, cudaStream_t stream);

size_t igemmWeightPartialBytes(const ConvShape& shape, DataType type);
// dc: channels-last, dense, a group's channels padded to whole vectors.
cudaError_t launchIgemmWeightGradient(const ConvProblem& problem, const IgemmSource& input, const void* dc,
                                      float* partials, void* gradient, bool accumulate, cudaStream_t stream);

}  // namespace pconv::cuda
