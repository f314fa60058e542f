#pragma once

#include "image/image.h"

namespace pconv::app {

/// How a picture is to be turned for display, 1 to 8 as Exif counts.
unsigned orientationOf(const Image& image);

/// Where a pixel of the displayed picture lies in the stored one.
struct Place {
    std::uint32_t x = 0;
    std::uint32_t y = 0;
};
/// `width` and `height` are those of the stored picture.
Place storedPlace(unsigned orientation, std::uint32_t width, std::uint32_t height, Place displayed);

/// Whether the displayed picture lies on its side.
inline bool swapsSides(unsigned orientation) {
    return orientation >= 5;
}

}  // namespace pconv::app
