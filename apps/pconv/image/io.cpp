#include "image/io.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
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
constexpr std::string_view kTiffSignatures[] = {{"II*\0", 4}, {"MM\0*", 4}, {"II+\0", 4}, {"MM\0+", 4}};
constexpr std::string_view kRiffSignature("RIFF", 4);
constexpr std::string_view kWebpSignature("WEBP", 4);
constexpr std::size_t kSignatureBytes = 12;

#ifdef PCONV_WITH_TIFF
constexpr bool kWithTiff = true;
#else
constexpr bool kWithTiff = false;
#endif
#ifdef PCONV_WITH_WEBP
constexpr bool kWithWebp = true;
#else
constexpr bool kWithWebp = false;
#endif

void checkBuilt(ImageFormat format) {
    if (format == ImageFormat::tiff && !kWithTiff)
        throw FileError("this pconv was built without TIFF (libtiff)");
    if (format == ImageFormat::webp && !kWithWebp)
        throw FileError("this pconv was built without WebP (libwebp)");
}

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

/// The whole file; only its start where that is no picture's.
Bytes readFile(const fs::path& path) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (!fs::exists(status)) throw FileError(error ? error.message() : "no such file");
    if (fs::is_directory(status)) throw FileError("it is a folder");
    std::ifstream stream(path, std::ios::binary);
    if (!stream) throw FileError(std::generic_category().message(errno));
    Bytes bytes;
    append(stream, bytes, kSignatureBytes);
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
    ImageFormat format = ImageFormat::png;
    if (lower == "jpg" || lower == "jpeg") {
        format = ImageFormat::jpeg;
    } else if (lower == "tif" || lower == "tiff") {
        format = ImageFormat::tiff;
    } else if (lower == "webp") {
        format = ImageFormat::webp;
    } else if (lower != "png") {
        throw FileError("unknown format " + inQuotes(name) + "; " +
                        formatList("png", "jpeg", "tiff", "webp") + " is expected");
    }
    checkBuilt(format);
    return format;
}

std::string formatList(const char* png, const char* jpeg, const char* tiff, const char* webp) {
    std::vector<std::string> names;
    const auto add = [&](const char* name, bool is_built) {
        if (name != nullptr && is_built) names.emplace_back(name);
    };
    add(png, true);
    add(jpeg, true);
    add(tiff, kWithTiff);
    add(webp, kWithWebp);
    std::string list = names[0];
    for (std::size_t i = 1; i < names.size(); ++i) list += (i + 1 < names.size() ? ", " : " or ") + names[i];
    return list;
}

ImageFormat formatOfName(const fs::path& path) {
    const std::string extension = path.extension().string();
    constexpr const char* kKnown[] = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"};
    const bool is_known = std::any_of(std::begin(kKnown), std::end(kKnown), [&](const std::string& known) {
        return known.size() == extension.size() &&
               std::equal(known.begin(), known.end(), extension.begin(),
                          [](char a, char b) { return a == (b >= 'A' && b <= 'Z' ? b + 32 : b); });
    });
    if (is_known) return formatNamed(extension.substr(1));
    throw FileError("cannot tell the format of " + inQuotes(path.string()) + ": a name ending in " +
                    formatList(".png", ".jpg, .jpeg", ".tif, .tiff", ".webp") + " is expected");
}

const char* endingOf(ImageFormat format) {
    switch (format) {
        case ImageFormat::png:
            return ".png";
        case ImageFormat::jpeg:
            return ".jpg";
        case ImageFormat::tiff:
            return ".tif";
        case ImageFormat::webp:
            return ".webp";
    }
    return "";
}

std::optional<ImageFormat> formatOfContent(const Bytes& bytes) {
    if (startsWith(bytes, kPngSignature)) return ImageFormat::png;
    if (startsWith(bytes, kJpegSignature)) return ImageFormat::jpeg;
    for (const std::string_view signature : kTiffSignatures) {
        if (startsWith(bytes, signature)) return ImageFormat::tiff;
    }
    const bool is_webp =
        startsWith(bytes, kRiffSignature) &&
        (bytes.size() < kSignatureBytes || std::memcmp(&bytes[kSignatureBytes - kWebpSignature.size()],
                                                       kWebpSignature.data(), kWebpSignature.size()) == 0);
    if (is_webp) return ImageFormat::webp;
    return std::nullopt;
}

Image decodeImage(const Bytes& bytes, std::uint64_t most_pixels) {
    const std::optional<ImageFormat> format = formatOfContent(bytes);
    if (!format || (*format == ImageFormat::webp && bytes.size() < kSignatureBytes)) {
        const std::string expected = formatList("PNG", "JPEG", "TIFF", "WebP");
        throw FileError(bytes.empty() ? "the file is empty; a " + expected + " picture is expected"
                                      : "not a picture of a known kind; " + expected + " is expected");
    }
    checkBuilt(*format);
    switch (*format) {
#ifdef PCONV_WITH_TIFF
        case ImageFormat::tiff:
            return decodeTiff(bytes, most_pixels);
#endif
#ifdef PCONV_WITH_WEBP
        case ImageFormat::webp:
            return decodeWebp(bytes, most_pixels);
#endif
        case ImageFormat::jpeg:
            return decodeJpeg(bytes, most_pixels);
        default:
            return decodePng(bytes, most_pixels);
    }
}

void checkCanHold(const Image& image, ImageFormat format) {
    if (image.depth == 32 && format != ImageFormat::tiff) {
        throw FileError(
            "the picture's samples are floating-point numbers; expected TIFF as the output's format, which "
            "alone can "
            "hold them");
    }
    if (format == ImageFormat::png) return;
    checkLight(image);
    const std::uint32_t longest = format == ImageFormat::jpeg   ? 65500
                                  : format == ImageFormat::webp ? 16383
                                                                : 0x7fffffff;
    if (std::max(image.width, image.height) > longest) {
        throw FileError("the picture is " + std::to_string(image.width) + "x" + std::to_string(image.height) +
                        " pixels; " + (format == ImageFormat::jpeg ? "JPEG" : "WebP") + " holds at most " +
                        std::to_string(longest) + " pixels a side");
    }
}

Bytes encodeImage(const Image& image, const Bytes& hole, ImageFormat format, Notes& notes) {
    checkCanHold(image, format);
    if (format == ImageFormat::jpeg && !image.jpeg.empty()) {
        try {
            return patchJpeg(image, hole);
        } catch (const FileError& error) {
            notes.push_back(
                std::string("all of it is compressed anew: the blocks outside the hole cannot be copied (") +
                error.what() + ")");
            return encodeJpeg(image, &notes);
        }
    }
    if (image.cmyk && format != ImageFormat::tiff)
        return encodeImage(toRgb(image, notes), hole, format, notes);
    if (format == ImageFormat::png) return encodePng(image);
    if (image.has_transparent_colour && format != ImageFormat::jpeg)
        return encodeImage(toAlphaChannel(image), hole, format, notes);
    switch (format) {
#ifdef PCONV_WITH_TIFF
        case ImageFormat::tiff:
            return encodeTiff(toStandardLight(image, notes), notes);
#endif
#ifdef PCONV_WITH_WEBP
        case ImageFormat::webp:
            return encodeWebp(toStandardLight(image, notes));
#endif
        default:
            return encodeJpeg(toStandardLight(image, notes), &notes);
    }
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
