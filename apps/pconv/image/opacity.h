#pragma once

#include <cstddef>

#include "image/image.h"

namespace pconv::app {

/// Whether a picture has a way to say that a pixel is transparent.
bool canBeTransparent(const Image& image);

/// How much of a pixel is seen, 0 to 1, whatever says it: the alpha channel, or the one colour that stands
/// for transparent. (A palette's transparency is the alpha of the colours it stands for.)
float opacityOf(const Image& image, std::size_t pixel);

}  // namespace pconv::app
