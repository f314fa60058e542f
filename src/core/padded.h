// Padding other than zeros, for every row alike: input and mask are padded on the device, the row is given
// them as an input without padding, and what it makes of the padded input's gradient is folded back.
#pragma once

#include <memory>

#include "backend.h"

namespace pconv {

// The descriptor that rows are asked for and made for; `desc` itself where its padding is of zeros.
PartialConvDesc rowDesc(const PartialConvDesc& desc);

// The row's own where the padding is of zeros. A convolution's updates are made by the same descriptor.
std::unique_ptr<MaskUpdate> makeMaskUpdate(const Implementation& row, Device& device,
                                           const PartialConvDesc& desc, const MaskForm& form,
                                           const MaskPlanes& results);
std::unique_ptr<PartialConv> makePartialConv(const Implementation& row, Device& device,
                                             const PartialConvDesc& desc);

}  // namespace pconv
