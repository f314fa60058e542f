#pragma once

#include <cstddef>

#include "image/image.h"

namespace pconv::app {

/// Where the picture lies in a file that may go on after it, or lack its end.
struct JpegExtent {
    std::size_t size = 0;  ///< bytes of the picture, without its end marker
    bool has_end = false;
    std::size_t trailer = 0;  ///< where what follows the picture begins
};

/// Follows the segments of a JPEG file. What comes after a scan belongs to the picture only if it leads to
/// another scan or to the end marker.
JpegExtent findJpegExtent(const Bytes& bytes);

}  // namespace pconv::app
