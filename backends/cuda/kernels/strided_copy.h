// Copies between any strides and types, and the passes around cuDNN's convolutions that no other row needs.
#pragma once

#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

// The f32 planes [batch, volume] that a fused graph multiplies with: u8 (0 or 1) or f32 planes of batch 1 or
// `batch` (`source` null: all ones); `as_predicate`: values other than 0 count as 1.
cudaError_t launchExpandPlanes(const void* source, bool source_is_u8, int source_batch, int batch,
                               int64_t plane_volume, bool as_predicate, float* destination,
                               cudaStream_t stream);

// destination = m source, added to what is there with `accumulate`; any types and strides of both. Where m is
// 0 the source is not read. `mask.planes` null: no mask. For weights and their gradients too: rows are the
// output channels.
struct StridedCopy {
    DataType source_type, destination_type;
    int64_t dims[5];  // rows, channels, D, H, W
    View source, destination;
    PackedMask mask;
    bool as_predicate;  // the mask: values other than 0 count as 1
    bool accumulate;
};
cudaError_t launchStridedCopy(const StridedCopy& copy, cudaStream_t stream);

}  // namespace pconv::cuda
