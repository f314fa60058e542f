#pragma once

#include <string>

#include "image/image.h"

namespace pconv::app {

/// The picture in sRGB where its file says by gAMA, cHRM or cICP that it is in something else: for formats
/// that cannot say so. What an ICC profile describes stays as it is. Throws FileError for light that they
/// cannot hold (PQ and HLG, which go far beyond white).
void checkLight(const Image& image);
Image toStandardLight(const Image& image, Notes& notes);

/// CMYK as RGB, by the simple formula: (1 - ink)(1 - black). Its ICC profile goes.
Image toRgb(const Image& image, Notes& notes);

/// The one transparent colour as an alpha channel.
Image toAlphaChannel(const Image& image);

}  // namespace pconv::app
