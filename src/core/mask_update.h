// Mask updates behind the C handle, for the C API and for networks.
#pragma once

#include <memory>
#include <string>

#include "core/handles.h"

namespace pconv {

// By the row that is chosen for `desc`, or the pinned one. Without `keeps_sums` nobody is to ask for the
// window sums, which some rows then leave out. Takes the device's lock.
std::unique_ptr<PconvMaskUpdate_T> makeMaskUpdate(const std::shared_ptr<DeviceState>& state,
                                                  const PartialConvDesc& desc, const MaskForm& form,
                                                  const std::string& pinned, bool keeps_sums);

}  // namespace pconv
