#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/image.h"
#include "image/left_out.h"

namespace pconv::app {

/// How the picture is to be turned for display, 1 to 8 as Exif counts; 1 where the data says nothing.
unsigned exifOrientation(const Bytes& exif);

/// The data rebuilt from the tags that are known to describe the picture as a whole, with its size made
/// right; empty where nothing is left. Thumbnails, maker's notes and whatever no directory points to are
/// gone.
Bytes cleanExif(const Bytes& exif, std::uint32_t width, std::uint32_t height, LeftOut& left_out);

/// As cleanExif, of a TIFF file, which is built as Exif data is: its further directories are pages.
Bytes cleanExifOfTiff(const Bytes& tiff, std::uint32_t width, std::uint32_t height, LeftOut& left_out);

/// Whether the data's numbers begin with their highest byte.
bool isBigEndian(const Bytes& exif);

/// Adds what clean data says of the picture to a TIFF file that does not say it itself. Both have the same
/// order of bytes; a BigTIFF stays as it is.
void addExifToTiff(const Bytes& exif, Bytes& tiff);

/// Texts of the first directory.
struct ExifText {
    std::uint16_t tag = 0;
    std::string text;
};
std::vector<ExifText> exifTexts(const Bytes& exif);

/// Data with an orientation and texts alone.
Bytes makeExif(unsigned orientation, const std::vector<ExifText>& texts);

}  // namespace pconv::app
