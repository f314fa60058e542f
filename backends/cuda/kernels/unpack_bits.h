// A mask's planes of bits as bytes.
#pragma once

#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

// bytes[i] = bit i, 0 or 1. Rows of both begin at multiples of 4 bytes; bytes behind a row up to the next
// multiple are written too.
struct BitUnpacking {
    int64_t dims[5];   // batch, planes, D, H, W
    View bits, bytes;  // strides in elements: bits and bytes
};
cudaError_t launchUnpackBits(const BitUnpacking& unpacking, cudaStream_t stream);

}  // namespace pconv::cuda
