#pragma once

#include <cstdint>
#include <vector>

#include "image/image.h"

namespace pconv::app {

/// Which pixels of a mask picture are hole, one byte each: those at least half white where `white` is set,
/// else the others. What is more than half transparent in the mask is no hole.
std::vector<std::uint8_t> holeOfMask(const Image& mask, bool white);

/// Which pixels are fully transparent, by alpha or by the transparent colour.
std::vector<std::uint8_t> transparentPixels(const Image& image);

/// Whether a picture has a way to say that a pixel is transparent.
bool canBeTransparent(const Image& image);

}  // namespace pconv::app
