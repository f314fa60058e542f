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
// One launch takes `most_dense` elements of the dense axis at most, which a kernel's integers can count.
cudaError_t launchUpsample(const Upsampling& upsampling, cudaStream_t stream,
                           int64_t most_dense = int64_t{1} << 30);

}  // namespace pconv::cuda
