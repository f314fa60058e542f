#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace pconv::app {

using Bytes = std::vector<std::uint8_t>;

enum class ImageFormat { png, jpeg, tiff, webp };

/// One-line remarks for the user: what could not be taken over from a file, and why.
using Notes = std::vector<std::string>;

/// A chunk of a PNG file that describes the picture, kept byte for byte.
struct PngChunk {
    std::array<char, 4> type{};
    bool after_pixels = false;
    std::vector<std::uint8_t> data;
};

/// A picture as its file stores it: no sample is scaled, so that what is not touched can be written back
/// exactly.
struct Image {
    ImageFormat format = ImageFormat::png;  ///< what the file was
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    unsigned channels = 0;  ///< 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha, or as `cmyk` says
    unsigned depth = 8;     ///< bits a sample: 1, 2 and 4 (gray only), 8, 16, or 32: floating-point
    bool cmyk = false;      ///< 4 channels are inks (0 is none), 5 inks and alpha
    bool alpha_is_associated = false;  ///< the file's colours were multiplied by alpha; `samples` are not
    /// The one colour that stands for transparent in a picture without alpha (PNG's tRNS).
    bool has_transparent_colour = false;
    std::array<std::uint16_t, 3> transparent_colour{};

    /// Rows from the top, channels interleaved: one byte a sample, or more in host order where depth is
    /// above 8.
    std::vector<std::uint8_t> samples;

    /// ICC profile, resolution, Exif, gamma, text: in PNG's form whatever the file was.
    std::vector<PngChunk> chunks;
    /// The file itself where it was a JPEG: blocks outside the hole are taken from it as they are.
    std::vector<std::uint8_t> jpeg;
    /// What reading the file had to leave out.
    Notes notes;

    bool hasAlpha() const { return cmyk ? channels == 5 : channels == 2 || channels == 4; }
    unsigned colourChannels() const { return hasAlpha() ? channels - 1 : channels; }
    std::size_t pixelCount() const { return std::size_t{width} * height; }
    unsigned sampleBytes() const { return depth <= 8 ? 1 : depth / 8; }
    std::size_t rowBytes() const { return std::size_t{width} * channels * sampleBytes(); }
    unsigned maximum() const { return (1U << depth) - 1; }

    /// A sample as a share of the largest number, or as it is where samples are floating-point numbers.
    float level(std::size_t index) const {
        if (depth < 16) return static_cast<float>(samples[index]) / static_cast<float>(maximum());
        if (depth == 16) return static_cast<float>(sampleAs<std::uint16_t>(index)) / 65535.0F;
        return sampleAs<float>(index);
    }
    template <typename Sample>
    Sample sampleAs(std::size_t index) const {
        Sample value{};
        std::memcpy(&value, samples.data() + index * sizeof value, sizeof value);
        return value;
    }
};

}  // namespace pconv::app
