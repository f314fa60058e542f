#include "image/io.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string_view>
#include <system_error>

#include "files/file_error.h"
#include "image/convert.h"

namespace pconv::app {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMostFileBytes = std::size_t{2} << 30;
constexpr std::string_view kPngSignature("\x89PNG\r\n\x1a\n", 8);
constexpr std::string_view kJpegSignature("\xff\xd8\xff", 3);

bool startsWith(const Bytes& bytes, std::string_view signature) {
    return bytes.size() >= signature.size() &&
           std::equal(signature.begin(), signature.end(), bytes.begin(),
                      [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

void append(std::ifstream& stream, Bytes& bytes, std::size_t count) {
    const std::size_t start = bytes.size();
    bytes.resize(start + count);
    stream.read(reinterpret_cast<char*>(bytes.data() + start), static_cast<std::streamsize>(count));
    bytes.resize(start + static_cast<std::size_t>(stream.gcount()));
}

/// The whole file; only its start where that is neither a PNG's nor a JPEG's.
Bytes readFile(const fs::path& path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) throw FileError(error ? error.message() : "no such file");
    if (fs::is_directory(status)) throw FileError("it is a folder");
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw FileError(std::generic_category().message(errno));
    Bytes bytes;
    append(stream, bytes, kPngSignature.size());
    if (!formatOfContent(bytes)) return bytes;
    const std::uintmax_t size = fs::file_size(path, error);
    std::size_t block =
        !error && size < kMostFileBytes ? static_cast<std::size_t>(size) : std::size_t{1} << 20;
    while (stream && bytes.size() <= kMostFileBytes) {
        append(stream, bytes, block);
        block = std::max(block, std::size_t{1} << 20);
    }
    if (bytes.size() > kMostFileBytes) throw FileError("a file of more than 2 GiB");
    if (stream.bad()) throw FileError("reading it failed");
    return bytes;
}

}  // namespace

ImageFormat formatNamed(const std::string& name) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (lower == "png") return ImageFormat::png;
    if (lower == "jpg" || lower == "jpeg") return ImageFormat::jpeg;
    throw FileError("unknown format " + inQuotes(name) + "; png or jpeg is expected");
}

ImageFormat formatOfName(const fs::path& path) {
    const std::string extension = path.extension().string();
    try {
        return formatNamed(extension.empty() ? extension : extension.substr(1));
    } catch (const FileError&) {
        throw FileError("cannot tell the format of " + inQuotes(path.string()) +
                        ": a name ending in .png, .jpg or .jpeg is expected");
    }
}

const char* endingOf(ImageFormat format) {
    switch (format) {
        case ImageFormat::png:
            return ".png";
        case ImageFormat::jpeg:
            return ".jpg";
    }
    return "";
}

std::optional<ImageFormat> formatOfContent(const Bytes& bytes) {
    if (startsWith(bytes, kPngSignature)) return ImageFormat::png;
    if (startsWith(bytes, kJpegSignature)) return ImageFormat::jpeg;
    return std::nullopt;
}

Image decodeImage(const Bytes& bytes, std::uint64_t most_pixels) {
    const std::optional<ImageFormat> format = formatOfContent(bytes);
    if (!format) {
        throw FileError(bytes.empty() ? "the file is empty; a PNG or JPEG picture is expected"
                                      : "neither a PNG nor a JPEG picture");
    }
    return *format == ImageFormat::png ? decodePng(bytes, most_pixels) : decodeJpeg(bytes, most_pixels);
}

void checkCanHold(const Image& image, ImageFormat format) {
    if (format == ImageFormat::png) return;
    checkLight(image);
    constexpr std::uint32_t kLongestJpegSide = 65500;
    if (std::max(image.width, image.height) > kLongestJpegSide) {
        throw FileError("the picture is " + std::to_string(image.width) + "x" + std::to_string(image.height) +
                        " pixels; JPEG holds at most " + std::to_string(kLongestJpegSide) + " pixels a side");
    }
}

Bytes encodeImage(const Image& image, const Bytes& hole, ImageFormat format, Notes& notes) {
    if (format == ImageFormat::jpeg && !image.jpeg.empty()) return patchJpeg(image, hole);
    if (image.cmyk) return encodeImage(toRgb(image, notes), hole, format, notes);
    if (format == ImageFormat::png) return encodePng(image);
    return encodeJpeg(toStandardLight(image, notes));
}

void checkImageSize(std::uint64_t width, std::uint64_t height, std::uint64_t most_pixels) {
    const std::string size = std::to_string(width) + "x" + std::to_string(height) + " pixels";
    constexpr std::uint64_t kLongestSide = 0x7fffffff;
    if (width == 0 || height == 0) throw FileError("a picture of " + size);
    if (width > kLongestSide || height > kLongestSide || width > most_pixels / height) {
        throw FileError("a picture of " + size + "; at most " + std::to_string(most_pixels) +
                        " in all are allowed (--max-pixels)");
    }
}

Image readImage(const fs::path& path, std::uint64_t most_pixels) {
    try {
        return decodeImage(readFile(path), most_pixels);
    } catch (const FileError& error) {
        throw FileError("cannot read " + inQuotes(path.string()) + ": " + error.what());
    }
}

}  // namespace pconv::app
