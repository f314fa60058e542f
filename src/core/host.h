// What a device gets of its caller's options: memory limit, verbosity, callbacks.
#pragma once

#include <memory>

#include "backend.h"
#include "pconv/pconv.h"

namespace pconv {

std::unique_ptr<Host> makeHost(const PconvDeviceOptions& options);

}  // namespace pconv
