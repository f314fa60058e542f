#include "image/png_chunks.h"

#include <zlib.h>

#include <algorithm>
#include <string_view>

#include "files/file_error.h"

namespace pconv::app {
namespace {

constexpr std::size_t kSignatureBytes = 8;
constexpr std::size_t kHeaderBytes = 13;
constexpr std::size_t kFrameBytes = 12;  // length, type and CRC
constexpr std::size_t kMostProfileBytes = std::size_t{64} << 20;

std::uint32_t readBig32(const std::uint8_t* bytes) {
    return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 | std::uint32_t{bytes[2]} << 8 |
           bytes[3];
}

void appendBig32(std::vector<std::uint8_t>& bytes, std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::uint8_t>(value >> shift));
}

/// Whether a chunk still holds when pixels have changed, and can stand in a file without a palette.
bool staysTrue(std::string_view type, bool palette) {
    constexpr std::string_view kKnown[] = {"gAMA", "cHRM", "sRGB", "iCCP", "cICP", "mDCV",
                                           "cLLI", "pHYs", "eXIf", "tEXt", "zTXt", "iTXt",
                                           "oFFs", "pCAL", "sCAL", "sTER", "sPLT"};
    if (std::find(std::begin(kKnown), std::end(kKnown), type) != std::end(kKnown)) return true;
    if (type == "sBIT" || type == "bKGD") return !palette;
    constexpr std::string_view kFalseNow[] = {"tRNS", "hIST", "tIME"};
    if (std::find(std::begin(kFalseNow), std::end(kFalseNow), type) != std::end(kFalseNow)) return false;
    // Bit 5 of the first letter: not critical; of the last: safe to copy by who does not know the chunk.
    return (type[0] & 0x20) != 0 && (type[3] & 0x20) != 0;
}

bool isLetter(std::uint8_t byte) {
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

}  // namespace

PngOutline outlinePng(const std::vector<std::uint8_t>& bytes) {
    PngOutline outline;
    std::size_t at = kSignatureBytes;
    bool ended = false;
    while (!ended) {
        if (at > bytes.size() || bytes.size() - at < kFrameBytes) throw FileError("the file ends early");
        const std::size_t length = readBig32(&bytes[at]);
        const std::uint8_t* name = &bytes[at + 4];
        if (!std::all_of(name, name + 4, isLetter)) throw FileError("a chunk has no valid name");
        const std::string_view type(reinterpret_cast<const char*>(name), 4);
        if (bytes.size() - at - kFrameBytes < length) throw FileError("the file ends early");
        const std::uint8_t* data = name + 4;
        const bool first = at == kSignatureBytes;
        if (first && type == "CgBI") {
            throw FileError(
                "an iPhone's variant of PNG (CgBI), which Xcode makes; expected a PNG, such as Xcode's "
                "'pngcrush -revert-iphone-optimizations' gives");
        }
        if (first != (type == "IHDR") || (first && length != kHeaderBytes)) {
            throw FileError("the header chunk is missing or damaged");
        }
        if (first) {
            outline.width = readBig32(data);
            outline.height = readBig32(data + 4);
            outline.depth = data[8];
            outline.colour_type = data[9];
        } else if (type == "IDAT") {
            outline.compressed_bytes += length;
        } else if (type == "IEND") {
            ended = true;
        } else if (type == "fdAT") {
            outline.is_animated = true;
        } else if (type == "gdAT" || type == "gmAP" || type == "caBX") {
            outline.has_hidden_pictures = true;
        } else if (staysTrue(type, outline.colour_type == 3) &&
                   crc32(0, name, static_cast<uInt>(length + 4)) == readBig32(data + length)) {
            PngChunk chunk = makeChunk(type.data(), {data, data + length});
            chunk.after_pixels = outline.compressed_bytes != 0;
            outline.chunks.push_back(std::move(chunk));
        }
        at += length + kFrameBytes;
    }
    outline.trailer = bytes.size() - at;
    return outline;
}

const PngChunk* findChunk(const std::vector<PngChunk>& chunks, const char* type) {
    const auto found = std::find_if(chunks.begin(), chunks.end(), [type](const PngChunk& chunk) {
        return std::equal(chunk.type.begin(), chunk.type.end(), type);
    });
    return found == chunks.end() ? nullptr : &*found;
}

PngChunk makeChunk(const char* type, std::vector<std::uint8_t> data) {
    PngChunk chunk;
    std::copy(type, type + 4, chunk.type.begin());
    chunk.data = std::move(data);
    return chunk;
}

PngChunk makeProfileChunk(const std::vector<std::uint8_t>& profile) {
    constexpr std::string_view kName("ICC profile\0\0", 13);  // a name, its end, and the method: deflate
    std::vector<std::uint8_t> data(kName.begin(), kName.end());
    uLongf size = compressBound(static_cast<uLong>(profile.size()));
    data.resize(kName.size() + size);
    compress2(data.data() + kName.size(), &size, profile.data(), static_cast<uLong>(profile.size()), 9);
    data.resize(kName.size() + size);
    return makeChunk("iCCP", std::move(data));
}

std::vector<std::uint8_t> profileOf(const PngChunk& chunk) {
    const auto name_end = std::find(chunk.data.begin(), chunk.data.end(), 0);
    if (chunk.data.end() - name_end < 2) return {};
    const auto start = static_cast<std::size_t>(name_end - chunk.data.begin()) + 2;
    const auto size = static_cast<uLong>(chunk.data.size() - start);
    // The profile's own first four bytes are its length.
    std::array<std::uint8_t, 4> head{};
    uLongf got = head.size();
    uncompress(head.data(), &got, &chunk.data[start], size);
    const std::size_t length = got == head.size() ? readBig32(head.data()) : 0;
    if (length < head.size() || length > kMostProfileBytes || length / 1032 > size) return {};
    std::vector<std::uint8_t> profile(length);
    got = static_cast<uLongf>(length);
    if (uncompress(profile.data(), &got, &chunk.data[start], size) != Z_OK || got != length) return {};
    return profile;
}

PngChunk makeDensityChunk(const PixelDensity& density) {
    std::vector<std::uint8_t> data;
    appendBig32(data, density.x);
    appendBig32(data, density.y);
    data.push_back(density.per_metre ? 1 : 0);
    return makeChunk("pHYs", std::move(data));
}

PixelDensity densityOf(const PngChunk& chunk) {
    if (chunk.data.size() != 9) return {};
    return {readBig32(chunk.data.data()), readBig32(&chunk.data[4]), chunk.data[8] == 1};
}

}  // namespace pconv::app
