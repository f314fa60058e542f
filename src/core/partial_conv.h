// Convolutions behind the C handle, for the C API and for networks.
#pragma once

#include <memory>
#include <string>

#include "core/handles.h"

namespace pconv {

// By the row that is chosen for `desc`, or the pinned one. Takes the device's lock.
std::unique_ptr<PconvPartialConv_T> makePartialConv(const std::shared_ptr<DeviceState>& state,
                                                    const PartialConvDesc& desc, const std::string& pinned);

// Whether that row fuses desc.upsampled; false too where no row supports the descriptor.
bool fusesUpsampling(DeviceState& state, const PartialConvDesc& desc, const std::string& pinned);

}  // namespace pconv
