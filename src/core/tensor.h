// Checks tensor views against what an operator expects and turns them into the seam's five dimensions.
#pragma once

#include "core/handles.h"

namespace pconv {

using Dims5 = std::array<int64_t, 5>;  // N, C, D, H, W

// Which dimension must have stride 1.
enum class UnitStride { last, channels, any };

struct Expected {
    const char* name;
    DataType data_type;
    int spatial_dims;
    Dims5 dims;
    UnitStride unit;
};

// Throws Error invalid_argument where the view does not match, lies beyond its buffer, is misaligned,
// overlaps itself, or belongs to another device.
TensorRef parseTensor(const PconvTensor* tensor, const Expected& expected, const DeviceState& device);

// A contiguous vector, such as a bias.
TensorRef parseVector(const PconvTensor* tensor, const char* name, DataType data_type, int64_t size,
                      const DeviceState& device);

void checkContiguous(const TensorRef& tensor, const Dims5& dims, const char* name);

// Whether any element of one view may be an element of the other. Slices of one array that interleave
// (channel slices of a batch) are told apart where both have the same strides.
bool mayOverlap(const TensorRef& a, const Dims5& a_dims, const TensorRef& b, const Dims5& b_dims);

Dims5 contiguousStrides(const Dims5& dims);
Dims5 denseStrides(const Dims5& dims, Layout layout);

}  // namespace pconv
