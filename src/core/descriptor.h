// Checks what comes through the C API and turns it into the seam's terms.
#pragma once

#include "backend.h"
#include "pconv/pconv.h"

namespace pconv {

// Throws Error invalid_argument with one line on the first fault.
PartialConvDesc parsePartialConvDesc(const PconvPartialConvDesc* desc);

// The row that the descriptor pins, else that PCONV_IMPL pins, else "".
std::string pinnedImplementation(const PconvPartialConvDesc& desc);

// Checks everything of the mask but its buffers. `mask` is null exactly where desc.mask_type is none.
MaskForm parseMaskForm(const PartialConvDesc& desc, const PconvMask* mask);

// Whether two descriptors put the same window and the same counting over a mask.
bool sameMaskSide(const PartialConvDesc& a, const PartialConvDesc& b);

}  // namespace pconv
