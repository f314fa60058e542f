// The tensors of an operator call, checked against its descriptor.
#pragma once

#include "core/checked.h"
#include "core/tensor.h"

namespace pconv {

inline Dims5 tensorDims(int64_t n, int64_t c, const Dims3& size) {
    return {n, c, size[0], size[1], size[2]};
}

inline UnitStride unitStride(Layout layout) {
    return layout == Layout::contiguous ? UnitStride::last : UnitStride::channels;
}

// A view with the dims it was checked for, to tell overlaps.
struct Operand {
    const char* name = "";
    Dims5 dims{};
    TensorRef tensor;
};

Operand inputLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                  const DeviceState& device);
Operand outputLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                   const DeviceState& device);
Operand weightLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                   const DeviceState& device);
Operand biasLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                 const DeviceState& device);

void checkApart(const Operand& a, const Operand& b);

// The planes of a mask of this form, one view a segment.
std::vector<TensorRef> parsePlanes(const PconvMask& mask, const MaskForm& form, MaskType type,
                                   int spatial_dims, const Dims3& size, const DeviceState& device);

bool sameForm(const MaskForm& a, const MaskForm& b);

}  // namespace pconv
