#pragma once

#include <string>
#include <vector>

#include "image/left_out.h"
#include "image/png_chunks.h"

namespace pconv::app {

/// The chunks that stay true when pixels change, thumbnails and other pictures taken out. Exif data that is
/// written as hexadecimal text becomes an eXIf chunk where there is none.
std::vector<PngChunk> cleanChunks(const std::vector<PngChunk>& chunks, std::uint32_t width,
                                  std::uint32_t height, LeftOut& left_out);

/// An iTXt chunk that holds an XMP packet.
PngChunk makeXmpChunk(const std::string& packet);
/// The packet among the chunks, empty where there is none.
std::string xmpOf(const std::vector<PngChunk>& chunks);

}  // namespace pconv::app
