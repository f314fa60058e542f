#include "image/opacity.h"

#include <algorithm>

namespace pconv::app {
namespace {

/// A sample as it is stored.
unsigned storedAt(const Image& image, std::size_t index) {
    return image.depth == 16 ? image.sampleAs<std::uint16_t>(index) : image.samples[index];
}

}  // namespace

bool canBeTransparent(const Image& image) {
    return image.hasAlpha() || image.has_transparent_colour;
}

float opacityOf(const Image& image, std::size_t pixel) {
    const std::size_t first = pixel * image.channels;
    if (image.hasAlpha()) return std::clamp(image.level(first + image.channels - 1), 0.0F, 1.0F);
    if (!image.has_transparent_colour) return 1.0F;
    for (unsigned c = 0; c < image.channels; ++c) {
        if (storedAt(image, first + c) != image.transparent_colour[c]) return 1.0F;
    }
    return 0.0F;
}

}  // namespace pconv::app
