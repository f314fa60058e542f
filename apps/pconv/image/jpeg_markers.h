#pragma once

#include <string>
#include <vector>

#include "image/left_out.h"

namespace pconv::app {

/// A segment of application data or a comment.
struct JpegMarker {
    int marker = 0;
    Bytes data;
};

/// Those that stay true when pixels change, thumbnails and other pictures taken out. Parts of an ICC profile
/// are not among them; Photoshop's data is one, whatever it was split into.
std::vector<JpegMarker> cleanMarkers(const std::vector<JpegMarker>& markers, std::uint32_t width,
                                     std::uint32_t height, LeftOut& left_out);

/// The Exif data and the XMP packet among them, or nothing.
Bytes exifOf(const std::vector<JpegMarker>& markers);
std::string xmpOf(const std::vector<JpegMarker>& markers);

/// Markers for them, none where they are empty; false where they are too long for one.
bool addExif(std::vector<JpegMarker>& markers, const Bytes& exif);
bool addXmp(std::vector<JpegMarker>& markers, const std::string& xmp);

/// Names what follows the picture in its file, which is not taken over.
void nameTrailer(const Bytes& bytes, std::size_t start, LeftOut& left_out);

}  // namespace pconv::app
