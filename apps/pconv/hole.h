#pragma once

#include "image/image.h"

namespace pconv::app {

/// What of a mask picture is hole.
enum class HoleMark {
    white,        ///< what is at least half white; what is more than half transparent is no hole
    black,        ///< what is less than half white; likewise
    transparent,  ///< what is at least half transparent, whatever its colour
};

/// Which of the picture's pixels are hole, one byte each, 0 or 255, rows as the picture stores them. A mask
/// of the size that the picture is displayed in (turned as its Exif orientation says) is taken as it is
/// displayed, any other as its file stores it. Throws FileError, whose line does not name the mask, where no
/// reading has the picture's size or the mask is in no way black and white. `notes` gets what should be known
/// of how it was read.
Bytes holeOfMask(const Image& mask, const Image& picture, HoleMark mark, Notes& notes);

/// How transparent each pixel is, from 0 to 255, by alpha or by the transparent colour; 0 only where it is
/// opaque.
Bytes softHole(const Image& image);

}  // namespace pconv::app
