// Where the mask of each channel lies.
#pragma once

#include "cpu/device.h"

namespace pconv::cpu {

// Whether one plane is the mask of every channel, whatever its multiplicity says.
bool hasOnePlane(const PartialConvDesc& desc, const MaskForm& form);

// planes[i]: where the mask of channel first + i begins at [n, d, h, w].
void pointAtPlanes(const CpuMaskUpdate& update, bool one_plane, int64_t first, int64_t channels,
                   const std::array<int64_t, 4>& at, const void** planes);

}  // namespace pconv::cpu
