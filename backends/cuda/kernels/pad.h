// Padding with elements of the input, and the sum of what they became.
#pragma once

#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

// Both sides have any strides; `padded` is larger by `begin` and `end` in the spatial dimensions.
struct PaddingCopy {
    DataType type;
    PaddingMode mode;
    int64_t dims[5];  // of `plain`
    int64_t begin[3], end[3];
    View plain, padded;
};

// Makes `padded` of `plain`.
cudaError_t launchPad(const PaddingCopy& copy, cudaStream_t stream);

// Sums into `plain` what its elements became in `padded`; f32, f16 or bf16.
cudaError_t launchFoldPadding(const PaddingCopy& copy, bool accumulate, cudaStream_t stream);

}  // namespace pconv::cuda
