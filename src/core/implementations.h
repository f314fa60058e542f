// Choosing among the rows of a device.
#pragma once

#include <string>

#include "core/handles.h"

namespace pconv {

// The first row that supports `desc`, or the pinned one; fails with what each row that declines says.
const Implementation& chooseImplementation(const DeviceState& state, const PartialConvDesc& desc,
                                           const std::string& pinned);

}  // namespace pconv
