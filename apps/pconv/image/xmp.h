#pragma once

#include <cstdint>
#include <string>

#include "image/left_out.h"

namespace pconv::app {

/// The packet without the properties that hold or describe other pictures (thumbnails, gain maps, depth, the
/// film of a motion photo) or give another size; every other byte as it was. Empty where it is not
/// well-formed.
std::string cleanXmp(const std::string& packet, std::uint32_t width, std::uint32_t height, LeftOut& left_out);

}  // namespace pconv::app
