#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "image/image.h"

namespace pconv::app {

/// Those of the four names whose formats are built in, as "A, B or C"; a null one is left out.
std::string formatList(const char* png, const char* jpeg, const char* tiff, const char* webp);
/// The format that a file name asks for by its end: what formatNamed knows, after a dot. Throws FileError for
/// any other.
ImageFormat formatOfName(const std::filesystem::path& path);
/// The format called "png", "jpg" or "jpeg", whatever the case of its letters. Throws FileError for any
/// other.
ImageFormat formatNamed(const std::string& name);
/// How names of that format end, such as ".png".
const char* endingOf(ImageFormat format);
/// The format of a file that begins with `bytes`, of which 12 are enough (with fewer it may be that format),
/// if it is one that can be read.
std::optional<ImageFormat> formatOfContent(const Bytes& bytes);

/// Reads a picture, whose format its content tells. Nothing is allocated for a picture of more than
/// `most_pixels`. Throws FileError, whose line names the file.
Image readImage(const std::filesystem::path& path, std::uint64_t most_pixels);

/// Decodes a whole file, whose format its content tells. The picture's notes say what was left out. Throws
/// FileError, whose line does not name the file.
Image decodeImage(const Bytes& bytes, std::uint64_t most_pixels);
/// Throws FileError where the format cannot hold the picture, which is better known before it is filled.
void checkCanHold(const Image& image, ImageFormat format);
/// Encodes a picture whose pixels in the hole (bytes other than 0, one a pixel) were filled since it was
/// decoded: what the output format can keep of the others as it was, it keeps. Adds to `notes` what it cannot
/// hold. Throws FileError.
Bytes encodeImage(const Image& image, const Bytes& hole, ImageFormat format, Notes& notes);

/// As the two formats: `bytes` is a whole file, and the FileError's line says what is wrong with it.
Image decodePng(const Bytes& bytes, std::uint64_t most_pixels);
Image decodeJpeg(const Bytes& bytes, std::uint64_t most_pixels);
Image decodeTiff(const Bytes& bytes, std::uint64_t most_pixels);
Image decodeWebp(const Bytes& bytes, std::uint64_t most_pixels);

Bytes encodePng(const Image& image);
/// Compressed by deflate, whatever the picture is. Adds to `notes` what the file cannot hold.
Bytes encodeTiff(const Image& image, Notes& notes);
/// Lossless; 8 bits a sample.
Bytes encodeWebp(const Image& image);
/// 8 bits a sample, without alpha, at a quality of 95 without chroma subsampling. Adds to `notes`, where
/// there are any, what the file cannot hold.
Bytes encodeJpeg(const Image& image, Notes* notes = nullptr);
/// The JPEG file that `image` came from with the blocks that touch the hole (bytes other than 0) encoded anew
/// from its samples; every other block is copied without loss.
Bytes patchJpeg(const Image& image, const Bytes& hole);

/// Throws FileError where the size is 0 or beyond what is allowed.
void checkImageSize(std::uint64_t width, std::uint64_t height, std::uint64_t most_pixels);

}  // namespace pconv::app
