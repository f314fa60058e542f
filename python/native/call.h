// What the functions that Python calls share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "pconv/pconv.h"

#define PCONV_PYTHON_API __attribute__((visibility("default")))

namespace pconv_python {

inline constexpr int kHasFractions = 100;  // beside the statuses: a mask said to be binary is not

inline size_t sizeOf(PconvDataType type) {
    return type == PCONV_DATA_TYPE_F32 ? 4 : type == PCONV_DATA_TYPE_U8 ? 1 : 2;
}

// The order of the numbers that an operator's description and a network's layer have in common; _engine.py
// and _layers.py write them.
enum ConvNumber {
    kOutChannels,
    kGroups,
    kKernel,
    kStride = kKernel + 3,
    kPadding = kStride + 3,
    kDilation = kPadding + 3,
    kMaskMode = kDilation + 3,
    kMaskWindow,
    kNormalization,
    kHasBias,
    kConvNumbers
};

inline void describeConv(int32_t dims, const int64_t* n, PconvPartialConvDesc& desc) {
    desc.out_channels = n[kOutChannels];
    desc.groups = n[kGroups];
    for (int d = 0; d < dims; ++d) {
        desc.kernel[d] = n[kKernel + d];
        desc.stride[d] = n[kStride + d];
        desc.padding[d] = n[kPadding + d];
        desc.dilation[d] = n[kDilation + d];
    }
    desc.mask_mode = static_cast<PconvMaskMode>(n[kMaskMode]);
    desc.mask_window = static_cast<PconvMaskWindow>(n[kMaskWindow]);
    desc.normalization = static_cast<PconvNormalization>(n[kNormalization]);
    desc.has_bias = static_cast<int32_t>(n[kHasBias]);
}

// std::bad_alloc is all that can fly here.
template <class F>
int32_t guarded(const F& f) {
    try {
        return f();
    } catch (const std::bad_alloc&) {
        return PCONV_ERROR_OUT_OF_MEMORY;
    }
}

}  // namespace pconv_python
