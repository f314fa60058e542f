#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "image/image.h"

namespace pconv::app {

using Bytes = std::vector<std::uint8_t>;

enum class ImageFormat { png, jpeg };

/// The format that a file name asks for: .png, .jpg or .jpeg. Throws FileError for any other.
ImageFormat formatOfName(const std::filesystem::path& path);

/// Reads a PNG or JPEG file, told apart by content. Nothing is allocated for a picture of more than
/// `most_pixels`. Throws FileError, whose line names the file.
Image readImage(const std::filesystem::path& path, std::uint64_t most_pixels);

/// As the two formats: `bytes` is a whole file, and the FileError's line says what is wrong with it.
Image decodePng(const Bytes& bytes, std::uint64_t most_pixels);
Image decodeJpeg(const Bytes& bytes, std::uint64_t most_pixels);

Bytes encodePng(const Image& image);
/// 8 bits a sample, without alpha, at a quality of 95 without chroma subsampling.
Bytes encodeJpeg(const Image& image);
/// The JPEG file that `image` came from with the blocks that touch the hole (bytes other than 0) encoded anew
/// from its samples; every other block is copied without loss.
Bytes patchJpeg(const Image& image, const Bytes& hole);

/// Throws FileError where the size is 0 or beyond what is allowed.
void checkImageSize(std::uint64_t width, std::uint64_t height, std::uint64_t most_pixels);

}  // namespace pconv::app
