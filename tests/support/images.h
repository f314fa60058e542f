// Pictures to begin tests with.
#pragma once

#include <cstring>

#include "image/image.h"

namespace pconv::test {

// Of samples that are all 0.
inline app::Image blankImage(std::uint32_t width, std::uint32_t height, unsigned channels, unsigned depth = 8,
                             bool cmyk = false) {
    app::Image image;
    image.width = width;
    image.height = height;
    image.channels = channels;
    image.depth = depth;
    image.cmyk = cmyk;
    image.samples.resize(image.rowBytes() * height);
    return image;
}

// A sample of 16 bits or fewer.
inline void setSample(app::Image& image, std::size_t index, unsigned value) {
    if (image.depth != 16) {
        image.samples[index] = static_cast<std::uint8_t>(value);
        return;
    }
    const auto both = static_cast<std::uint16_t>(value);
    std::memcpy(&image.samples[2 * index], &both, 2);
}

}  // namespace pconv::test
