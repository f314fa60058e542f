#include "hole.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include "files/file_error.h"
#include "image/opacity.h"
#include "image/orientation.h"

namespace pconv::app {
namespace {

float whitenessOf(const Image& mask, std::size_t pixel) {
    const unsigned colours = mask.colourChannels();
    float sum = 0;
    for (unsigned c = 0; c < colours; ++c) sum += mask.level(pixel * mask.channels + c);
    const float mean = sum / static_cast<float>(colours);
    return mask.cmyk ? 1.0F - mean : mean;
}

bool isHole(const Image& mask, std::size_t pixel, HoleMark mark) {
    const float opacity = opacityOf(mask, pixel);
    if (mark == HoleMark::transparent) return opacity <= 0.5F;
    return opacity >= 0.5F && (whitenessOf(mask, pixel) >= 0.5F) == (mark == HoleMark::white);
}

std::string sizeText(std::uint32_t width, std::uint32_t height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

/// By which orientations mask and picture are turned before they are laid on one another.
struct Reading {
    unsigned mask = 1;
    unsigned picture = 1;
};

bool fits(const Image& mask, const Image& picture, Reading reading) {
    const auto width = [](const Image& of, unsigned turn) { return swapsSides(turn) ? of.height : of.width; };
    const auto height = [](const Image& of, unsigned turn) {
        return swapsSides(turn) ? of.width : of.height;
    };
    return width(mask, reading.mask) == width(picture, reading.picture) &&
           height(mask, reading.mask) == height(picture, reading.picture);
}

std::optional<Reading> findReading(const Image& mask, const Image& picture) {
    const unsigned of_mask = orientationOf(mask);
    const unsigned of_picture = orientationOf(picture);
    const Reading readings[] = {{of_mask, of_picture}, {1, 1}, {1, of_picture}, {of_mask, 1}};
    for (const Reading reading : readings) {
        if (fits(mask, picture, reading)) return reading;
    }
    return std::nullopt;
}

void noteReading(Reading reading, const Image& mask, const Image& picture, Notes& notes) {
    const unsigned of_mask = orientationOf(mask);
    const unsigned of_picture = orientationOf(picture);
    if (of_mask == 1 && of_picture == 1) return;
    const auto turn = [](unsigned orientation, bool used) {
        if (orientation == 1) return std::string("as it is");
        return (used ? "turned as its Exif orientation " : "as stored, without its Exif orientation ") +
               std::to_string(orientation) + (used ? " says" : "");
    };
    notes.push_back("laid on the picture " + turn(of_picture, reading.picture == of_picture) + ", the mask " +
                    turn(of_mask, reading.mask == of_mask));
}

/// A mask whose values are all on one side of half gray shows nothing. Where it has but two values, its
/// numbers are labels, for which another program has its own meaning.
void checkLevels(const Image& mask, HoleMark mark, Notes& notes) {
    if (mark == HoleMark::transparent) return;
    float darkest = 2;
    float brightest = -1;
    for (std::size_t i = 0; i < mask.pixelCount(); ++i) {
        if (opacityOf(mask, i) < 0.5F) continue;
        const float level = whitenessOf(mask, i);
        darkest = std::min(darkest, level);
        brightest = std::max(brightest, level);
    }
    if (darkest >= brightest || (darkest < 0.5F) != (brightest < 0.5F)) return;
    bool only_two = true;
    for (std::size_t i = 0; i < mask.pixelCount() && only_two; ++i) {
        const float level = opacityOf(mask, i) < 0.5F ? darkest : whitenessOf(mask, i);
        only_two = level == darkest || level == brightest;
    }
    const bool dark = brightest < 0.5F;
    const float scale = mask.depth == 32 ? 1.0F : static_cast<float>(mask.maximum());
    const auto number = [&](float level) {
        return mask.depth == 32 ? std::to_string(level) : std::to_string(std::lround(level * scale));
    };
    const std::string line = std::string("its ") + (dark ? "brightest" : "darkest") + " value is " +
                             number(dark ? brightest : darkest) + " of " + number(1.0F) + "; expected " +
                             (dark ? "half white and up where it is white (" + number(0.5F) + ")"
                                   : "less than half white where it is black (" + number(0.5F) + ")");
    if (only_two) throw FileError(line);
    notes.push_back(line);
}

}  // namespace

Bytes holeOfMask(const Image& mask, const Image& picture, HoleMark mark, Notes& notes) {
    const std::optional<Reading> reading = findReading(mask, picture);
    if (!reading) {
        throw FileError("it is " + sizeText(mask.width, mask.height) + " pixels; expected " +
                        sizeText(picture.width, picture.height) + ", the size of the picture");
    }
    noteReading(*reading, mask, picture, notes);
    checkLevels(mask, mark, notes);
    Bytes hole(picture.pixelCount());
    const bool on_side = swapsSides(reading->picture);
    const std::uint32_t rows = on_side ? picture.width : picture.height;
    const std::uint32_t columns = on_side ? picture.height : picture.width;
    for (std::uint32_t y = 0; y < rows; ++y) {
        for (std::uint32_t x = 0; x < columns; ++x) {
            const Place from = storedPlace(reading->mask, mask.width, mask.height, {x, y});
            const Place to = storedPlace(reading->picture, picture.width, picture.height, {x, y});
            const bool is_hole = isHole(mask, std::size_t{from.y} * mask.width + from.x, mark);
            hole[std::size_t{to.y} * picture.width + to.x] = is_hole ? 255 : 0;
        }
    }
    return hole;
}

Bytes softHole(const Image& image) {
    Bytes hole(image.pixelCount());
    for (std::size_t i = 0; i < hole.size(); ++i) {
        const float opacity = opacityOf(image, i);
        // What is not quite opaque is to become so.
        hole[i] =
            opacity == 1.0F ? 0 : static_cast<std::uint8_t>(std::max(1L, std::lround(255 * (1 - opacity))));
    }
    return hole;
}

}  // namespace pconv::app
