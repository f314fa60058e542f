#include "hole.h"

#include <algorithm>

namespace pconv::app {
namespace {

template <typename Sample>
Bytes holeOf(const Image& mask, bool white) {
    const auto* sample = reinterpret_cast<const Sample*>(mask.samples.data());
    const unsigned colours = mask.colourChannels();
    Bytes hole(mask.pixelCount());
    for (std::uint8_t& pixel : hole) {
        unsigned sum = 0;
        for (unsigned c = 0; c < colours; ++c) sum += sample[c];
        const bool is_white = 2 * sum >= colours * mask.maximum();
        const bool is_seen = !mask.hasAlpha() || 2U * sample[colours] >= mask.maximum();
        pixel = is_seen && is_white == white ? 1 : 0;
        sample += mask.channels;
    }
    return hole;
}

template <typename Sample>
Bytes transparentIn(const Image& image) {
    const auto* sample = reinterpret_cast<const Sample*>(image.samples.data());
    const unsigned colours = image.colourChannels();
    const auto& key = image.transparent_colour;
    Bytes transparent(image.pixelCount());
    for (std::uint8_t& pixel : transparent) {
        const bool by_alpha = image.hasAlpha() && sample[colours] == 0;
        const bool by_colour =
            image.has_transparent_colour && std::equal(sample, sample + colours, key.begin());
        pixel = by_alpha || by_colour ? 1 : 0;
        sample += image.channels;
    }
    return transparent;
}

}  // namespace

Bytes holeOfMask(const Image& mask, bool white) {
    return mask.depth == 16 ? holeOf<std::uint16_t>(mask, white) : holeOf<std::uint8_t>(mask, white);
}

Bytes transparentPixels(const Image& image) {
    return image.depth == 16 ? transparentIn<std::uint16_t>(image) : transparentIn<std::uint8_t>(image);
}

bool canBeTransparent(const Image& image) {
    return image.hasAlpha() || image.has_transparent_colour;
}

}  // namespace pconv::app
