#include "image/png_metadata.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "files/file_error.h"
#include "image/exif.h"
#include "image/xmp.h"

namespace pconv::app {
namespace {

constexpr std::string_view kXmpKeyword = "XML:com.adobe.xmp";
constexpr std::string_view kRawProfile = "Raw profile type ";

bool isOfType(const PngChunk& chunk, std::string_view type) {
    return std::equal(type.begin(), type.end(), chunk.type.begin(), chunk.type.end());
}

/// What a zlib stream holds, up to 16 MiB; nothing where it is damaged or longer.
std::optional<std::string> inflated(const std::uint8_t* data, std::size_t size) {
    constexpr std::size_t kMost = std::size_t{16} << 20;
    z_stream stream{};
    if (inflateInit(&stream) != Z_OK) throw std::bad_alloc();
    stream.next_in = const_cast<Bytef*>(data);  // zlib's interface; it reads alone
    stream.avail_in = static_cast<uInt>(size);
    std::string text;
    int status = Z_OK;
    std::array<char, 1 << 14> block{};
    while (status == Z_OK && text.size() <= kMost) {
        stream.next_out = reinterpret_cast<Bytef*>(block.data());
        stream.avail_out = static_cast<uInt>(block.size());
        status = inflate(&stream, Z_NO_FLUSH);
        if (status == Z_OK || status == Z_STREAM_END)
            text.append(block.data(), block.size() - stream.avail_out);
    }
    inflateEnd(&stream);
    if (status != Z_STREAM_END) return std::nullopt;
    return text;
}

struct Text {
    std::string keyword;
    std::string value;
};

/// A tEXt, zTXt or iTXt chunk taken apart; nothing where it is damaged.
std::optional<Text> textOf(const PngChunk& chunk) {
    const Bytes& data = chunk.data;
    const auto keyword_end = std::find(data.begin(), data.end(), 0);
    if (keyword_end == data.end()) return std::nullopt;
    Text text{{data.begin(), keyword_end}, {}};
    auto at = static_cast<std::size_t>(keyword_end - data.begin()) + 1;
    bool compressed = false;
    if (isOfType(chunk, "zTXt")) {
        compressed = true;
        ++at;
    } else if (isOfType(chunk, "iTXt")) {
        if (data.size() - at < 2) return std::nullopt;
        compressed = data[at] != 0;
        at += 2;
        for (int field = 0; field < 2; ++field) {  // language and translated keyword
            const auto end = std::find(data.begin() + static_cast<std::ptrdiff_t>(at), data.end(), 0);
            if (end == data.end()) return std::nullopt;
            at = static_cast<std::size_t>(end - data.begin()) + 1;
        }
    }
    if (at > data.size()) return std::nullopt;
    if (!compressed) {
        text.value.assign(data.begin() + static_cast<std::ptrdiff_t>(at), data.end());
        return text;
    }
    std::optional<std::string> value = inflated(data.data() + at, data.size() - at);
    if (!value) return std::nullopt;
    text.value = std::move(*value);
    return text;
}

/// Exif data as ImageMagick and exiftool write it into a text: a name, a length, and hexadecimal digits.
Bytes exifOfRawProfile(const std::string& text) {
    constexpr std::string_view kSignature("Exif\0\0", 6);
    std::size_t at = 0;
    for (int line = 0; line < 3; ++line) {  // an empty one, the name, the length
        at = text.find('\n', at);
        if (at == std::string::npos) return {};
        ++at;
    }
    Bytes bytes;
    int high = -1;
    for (; at < text.size(); ++at) {
        const char c = text[at];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) continue;
        if (high >= 0) bytes.push_back(static_cast<std::uint8_t>(high << 4 | digit));
        high = high >= 0 ? -1 : digit;
    }
    const bool signed_data =
        bytes.size() >= kSignature.size() &&
        std::equal(kSignature.begin(), kSignature.end(), bytes.begin(),
                   [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
    if (signed_data)
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(kSignature.size()));
    return bytes;
}

class Cleaner {
  public:
    Cleaner(std::uint32_t width, std::uint32_t height, LeftOut& left_out)
        : width_(width), height_(height), left_out_(left_out) {}

    void add(const PngChunk& chunk) {
        if (isOfType(chunk, "eXIf")) {
            addExif(chunk.data, chunk.after_pixels);
        } else if (isOfType(chunk, "tEXt") || isOfType(chunk, "zTXt") || isOfType(chunk, "iTXt")) {
            addText(chunk);
        } else {
            addOther(chunk);
        }
    }

    std::vector<PngChunk> take() {
        if (findChunk(kept_, "eXIf") == nullptr && !raw_exif_.empty()) addExif(raw_exif_, false);
        return std::move(kept_);
    }

  private:
    void addExif(const Bytes& data, bool after_pixels) {
        Bytes clean = cleanExif(data, width_, height_, left_out_);
        if (clean.empty() || findChunk(kept_, "eXIf") != nullptr) return;
        PngChunk kept = makeChunk("eXIf", std::move(clean));
        kept.after_pixels = after_pixels;
        kept_.push_back(std::move(kept));
    }

    void addText(const PngChunk& chunk) {
        const std::optional<Text> text = textOf(chunk);
        if (!text) {
            left_out_.add("a damaged text");
        } else if (text->keyword == kXmpKeyword) {
            const std::string clean = cleanXmp(text->value, width_, height_, left_out_);
            if (clean.empty()) return;
            PngChunk kept = makeXmpChunk(clean);
            kept.after_pixels = chunk.after_pixels;
            kept_.push_back(std::move(kept));
        } else if (text->keyword.compare(0, kRawProfile.size(), kRawProfile) == 0) {
            const std::string kind = text->keyword.substr(kRawProfile.size());
            if (kind == "exif" || kind == "APP1" || kind == "app1") raw_exif_ = exifOfRawProfile(text->value);
            if (raw_exif_.empty()) left_out_.add("the text '" + text->keyword + "'");
        } else if (mayHoldPicture(reinterpret_cast<const std::uint8_t*>(text->value.data()),
                                  text->value.size())) {
            left_out_.add("the text " + inQuotes(text->keyword));
        } else {
            kept_.push_back(chunk);
        }
    }

    void addOther(const PngChunk& chunk) {
        constexpr std::string_view kStandard[] = {"gAMA", "cHRM", "sRGB", "iCCP", "cICP",
                                                  "mDCV", "cLLI", "pHYs", "oFFs", "pCAL",
                                                  "sCAL", "sTER", "sPLT", "sBIT", "bKGD"};
        constexpr std::size_t kLongestOther = 64;
        const bool is_standard = std::any_of(std::begin(kStandard), std::end(kStandard),
                                             [&](std::string_view type) { return isOfType(chunk, type); });
        if (is_standard ||
            (chunk.data.size() <= kLongestOther && !mayHoldPicture(chunk.data.data(), chunk.data.size()))) {
            kept_.push_back(chunk);
        } else {
            left_out_.add("the chunk " + inQuotes(std::string(chunk.type.data(), chunk.type.size())));
        }
    }

    std::uint32_t width_;
    std::uint32_t height_;
    LeftOut& left_out_;
    Bytes raw_exif_;
    std::vector<PngChunk> kept_;
};

}  // namespace

std::vector<PngChunk> cleanChunks(const std::vector<PngChunk>& chunks, std::uint32_t width,
                                  std::uint32_t height, LeftOut& left_out) {
    Cleaner cleaner(width, height, left_out);
    for (const PngChunk& chunk : chunks) cleaner.add(chunk);
    return cleaner.take();
}

PngChunk makeXmpChunk(const std::string& packet) {
    Bytes data(kXmpKeyword.begin(), kXmpKeyword.end());
    data.insert(data.end(), 5, 0);  // the keyword's end, not compressed, no language, no translation
    data.insert(data.end(), packet.begin(), packet.end());
    return makeChunk("iTXt", std::move(data));
}

std::string xmpOf(const std::vector<PngChunk>& chunks) {
    for (const PngChunk& chunk : chunks) {
        if (!isOfType(chunk, "iTXt")) continue;
        std::optional<Text> text = textOf(chunk);
        if (text && text->keyword == kXmpKeyword) return std::move(text->value);
    }
    return {};
}

}  // namespace pconv::app
