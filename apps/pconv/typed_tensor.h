// Tensors of a type other than F32 from and to values that are.
#pragma once

#include <vector>

#include "pconv/pconv.hpp"

namespace pconv::app {

/// The values, rounded to the type on the device.
Tensor tensorOf(PconvDataType type, const Device& device, const std::vector<int64_t>& dims,
                const std::vector<float>& values);

/// What a tensor of F32, F16 or BF16 holds.
std::vector<float> floatsOf(const Device& device, const Tensor& tensor);

/// The values of contiguous planes of a mask, F32 or bytes, which stand for 0 and 1.
std::vector<float> maskValuesOf(const PconvTensor& planes);

}  // namespace pconv::app
