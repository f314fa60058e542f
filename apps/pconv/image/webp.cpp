#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <new>
#include <string_view>

#include "files/file_error.h"
#include "image/convert.h"
#include "image/exif.h"
#include "image/io.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"
#include "image/xmp.h"

namespace pconv::app {
namespace {

constexpr std::string_view kExifSignature("Exif\0\0", 6);

using Mux = std::unique_ptr<WebPMux, decltype(&WebPMuxDelete)>;

const char* faultOf(VP8StatusCode status) {
    switch (status) {
        case VP8_STATUS_NOT_ENOUGH_DATA:
            return "the file ends early";
        case VP8_STATUS_UNSUPPORTED_FEATURE:
            return "it uses a feature of WebP that libwebp does not know";
        default:
            return "its data is damaged";
    }
}

void check(VP8StatusCode status) {
    if (status == VP8_STATUS_OUT_OF_MEMORY) throw std::bad_alloc();
    if (status != VP8_STATUS_OK) throw FileError(faultOf(status));
}

Bytes chunkOf(const WebPMux* mux, const char* name) {
    WebPData data{};
    if (WebPMuxGetChunk(mux, name, &data) != WEBP_MUX_OK) return {};
    return {data.bytes, data.bytes + data.size};
}

/// The bytes that the file's own header counts.
std::size_t sizeOf(const Bytes& bytes) {
    const std::size_t size =
        bytes[4] | std::size_t{bytes[5]} << 8 | std::size_t{bytes[6]} << 16 | std::size_t{bytes[7]} << 24;
    return std::min(size + 8 + size % 2, bytes.size());
}

/// Profile, Exif and XMP in PNG's form.
std::vector<PngChunk> describe(const Bytes& bytes, std::uint32_t width, std::uint32_t height,
                               LeftOut& left_out) {
    std::vector<PngChunk> chunks;
    const WebPData file{bytes.data(), sizeOf(bytes)};  // libwebpmux refuses what has more behind it
    const Mux mux(WebPMuxCreate(&file, 0), WebPMuxDelete);
    if (!mux) {
        left_out.add("all metadata, for its chunks are damaged");
        return chunks;
    }
    if (const Bytes profile = chunkOf(mux.get(), "ICCP"); !profile.empty())
        chunks.push_back(makeProfileChunk(profile));
    Bytes exif = chunkOf(mux.get(), "EXIF");
    if (exif.size() > kExifSignature.size() &&
        std::memcmp(exif.data(), kExifSignature.data(), kExifSignature.size()) == 0) {
        exif.erase(exif.begin(), exif.begin() + static_cast<std::ptrdiff_t>(kExifSignature.size()));
    }
    exif = cleanExif(exif, width, height, left_out);
    if (!exif.empty()) chunks.push_back(makeChunk("eXIf", std::move(exif)));
    const Bytes packet = chunkOf(mux.get(), "XMP ");
    const std::string xmp = cleanXmp({packet.begin(), packet.end()}, width, height, left_out);
    if (!xmp.empty()) chunks.push_back(makeXmpChunk(xmp));
    return chunks;
}

int appendTo(const std::uint8_t* data, std::size_t size, const WebPPicture* picture) {
    try {
        auto* bytes = static_cast<Bytes*>(picture->custom_ptr);
        bytes->insert(bytes->end(), data, data + size);
        return 1;
    } catch (const std::bad_alloc&) {
        return 0;
    }
}

/// 8-bit RGBA, of which alpha is 255 where the picture has none.
Bytes rgbaOf(const Image& image) {
    Bytes rgba(image.pixelCount() * 4, 255);
    const unsigned colours = image.colourChannels();
    for (std::size_t pixel = 0; pixel < image.pixelCount(); ++pixel) {
        const auto byteOf = [&](unsigned channel) {
            return static_cast<std::uint8_t>(
                std::lround(image.level(pixel * image.channels + channel) * 255));
        };
        for (unsigned c = 0; c < 3; ++c) rgba[4 * pixel + c] = byteOf(colours == 1 ? 0 : c);
        if (image.hasAlpha()) rgba[4 * pixel + 3] = byteOf(colours);
    }
    return rgba;
}

/// The picture alone, lossless.
Bytes encodePixels(const Image& image) {
    WebPConfig config;
    WebPPicture picture;
    if (WebPConfigInit(&config) == 0 || WebPPictureInit(&picture) == 0)
        throw FileError("libwebp is of another version");
    constexpr int kLevel = 3;
    WebPConfigLosslessPreset(&config, kLevel);
    config.exact = 1;  // colours of what is transparent are kept too
    picture.use_argb = 1;
    picture.width = static_cast<int>(image.width);
    picture.height = static_cast<int>(image.height);
    const Bytes rgba = rgbaOf(image);
    Bytes bytes;
    picture.writer = appendTo;
    picture.custom_ptr = &bytes;
    const std::unique_ptr<WebPPicture, decltype(&WebPPictureFree)> owner(&picture, WebPPictureFree);
    const bool imported = image.hasAlpha()
                              ? WebPPictureImportRGBA(&picture, rgba.data(), picture.width * 4) != 0
                              : WebPPictureImportRGBX(&picture, rgba.data(), picture.width * 4) != 0;
    if (!imported) throw std::bad_alloc();
    if (WebPEncode(&config, &picture) == 0) {
        if (picture.error_code == VP8_ENC_ERROR_OUT_OF_MEMORY ||
            picture.error_code == VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY ||
            picture.error_code == VP8_ENC_ERROR_BAD_WRITE) {
            throw std::bad_alloc();
        }
        throw FileError("libwebp fails with code " + std::to_string(picture.error_code));
    }
    return bytes;
}

}  // namespace

Image decodeWebp(const Bytes& bytes, std::uint64_t most_pixels) {
    WebPDecoderConfig config;
    if (WebPInitDecoderConfig(&config) == 0) throw FileError("libwebp is of another version");
    check(WebPGetFeatures(bytes.data(), bytes.size(), &config.input));
    if (config.input.has_animation != 0)
        throw FileError("an animation; a picture that stands still is expected");
    Image image;
    image.format = ImageFormat::webp;
    image.width = static_cast<std::uint32_t>(std::max(config.input.width, 0));
    image.height = static_cast<std::uint32_t>(std::max(config.input.height, 0));
    checkImageSize(image.width, image.height, most_pixels);
    image.channels = config.input.has_alpha != 0 ? 4 : 3;
    image.samples.resize(image.rowBytes() * image.height);
    config.output.colorspace = image.hasAlpha() ? MODE_RGBA : MODE_RGB;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = image.samples.data();
    config.output.u.RGBA.stride = static_cast<int>(image.rowBytes());
    config.output.u.RGBA.size = image.samples.size();
    const VP8StatusCode status = WebPDecode(bytes.data(), bytes.size(), &config);
    WebPFreeDecBuffer(&config.output);
    check(status);
    LeftOut left_out;
    image.chunks = describe(bytes, image.width, image.height, left_out);
    if (const std::size_t end = sizeOf(bytes); end < bytes.size())
        left_out.add(std::to_string(bytes.size() - end) + " bytes after the picture");
    left_out.appendTo(image.notes);
    return image;
}

Bytes encodeWebp(const Image& image) {
    Bytes pixels = encodePixels(image);
    const PngChunk* profile_chunk = findChunk(image.chunks, "iCCP");
    const PngChunk* exif = findChunk(image.chunks, "eXIf");
    const Bytes profile = profile_chunk == nullptr ? Bytes() : profileOf(*profile_chunk);
    const std::string xmp = xmpOf(image.chunks);
    if (profile.empty() && exif == nullptr && xmp.empty()) return pixels;
    const Mux mux(WebPMuxNew(), WebPMuxDelete);
    if (!mux) throw std::bad_alloc();
    const auto set = [&](const char* name, const std::uint8_t* data, std::size_t size) {
        const WebPData chunk{data, size};
        if (size != 0 && WebPMuxSetChunk(mux.get(), name, &chunk, 1) != WEBP_MUX_OK) throw std::bad_alloc();
    };
    const WebPData still{pixels.data(), pixels.size()};
    if (WebPMuxSetImage(mux.get(), &still, 0) != WEBP_MUX_OK) throw std::bad_alloc();
    set("ICCP", profile.data(), profile.size());
    if (exif != nullptr) set("EXIF", exif->data.data(), exif->data.size());
    set("XMP ", reinterpret_cast<const std::uint8_t*>(xmp.data()), xmp.size());
    WebPData file{};
    if (WebPMuxAssemble(mux.get(), &file) != WEBP_MUX_OK) throw std::bad_alloc();
    const std::unique_ptr<WebPData, decltype(&WebPDataClear)> owner(&file, WebPDataClear);
    return {file.bytes, file.bytes + file.size};
}

}  // namespace pconv::app
