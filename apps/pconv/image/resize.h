#pragma once

#include "image/image.h"

namespace pconv::app {

/// The middle `size` x `size` pixels of a picture as it is displayed, scaled so that its shorter side becomes
/// `shorter`, at least `size`: planes of red, green and blue, 0 to 1. Each pixel is a mean of those under a
/// triangle as wide as two pixels of the result, as in torchvision's transforms Resize and CenterCrop. Alpha
/// is not looked at; not for CMYK.
std::vector<float> scaledMiddle(const Image& image, std::uint32_t shorter, std::uint32_t size);

}  // namespace pconv::app
