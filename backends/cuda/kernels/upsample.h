// Nearest upsampling.
#pragma once

#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

// destination[n, c, o] = source[n, c, o / factor], of elements of 1, 2 or 4 bytes and any strides.
struct Upsampling {
    int element_bytes;
    int64_t dims[5];  // of the source
    int64_t factor[3];
    View source, destination;
};
cudaError_t launchUpsample(const Upsampling& upsampling, cudaStream_t stream);

}  // namespace pconv::cuda
