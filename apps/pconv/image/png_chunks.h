#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/image.h"

namespace pconv::app {

/// What can be known of a PNG file without decoding a pixel.
struct PngOutline {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint8_t depth = 0;
    std::uint8_t colour_type = 0;
    std::uint64_t compressed_bytes = 0;
    std::vector<PngChunk> chunks;      ///< those that can stay true when pixels change
    bool is_animated = false;          ///< there are further pictures
    bool has_hidden_pictures = false;  ///< a gain map, a record of provenance with its thumbnails
    std::size_t trailer = 0;           ///< bytes after the end
};

/// Walks the chunks of a whole file. Throws FileError where one reaches beyond the file.
PngOutline outlinePng(const std::vector<std::uint8_t>& bytes);

/// The chunk of that type, or nullptr.
const PngChunk* findChunk(const std::vector<PngChunk>& chunks, const char* type);

PngChunk makeChunk(const char* type, std::vector<std::uint8_t> data);

/// An iCCP chunk that holds the profile, and the profile that an iCCP chunk holds (empty where it is
/// damaged).
PngChunk makeProfileChunk(const std::vector<std::uint8_t>& profile);
std::vector<std::uint8_t> profileOf(const PngChunk& chunk);

/// A pHYs chunk: pixels a metre, or only the pixel's shape.
struct PixelDensity {
    std::uint32_t x = 0;
    std::uint32_t y = 0;
    bool per_metre = false;
};
PngChunk makeDensityChunk(const PixelDensity& density);
PixelDensity densityOf(const PngChunk& chunk);

}  // namespace pconv::app
