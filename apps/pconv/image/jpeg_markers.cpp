#include "image/jpeg_markers.h"

#include <algorithm>
#include <string_view>

#include "image/exif.h"
#include "image/photoshop.h"
#include "image/xmp.h"

namespace pconv::app {
namespace {

using namespace std::string_view_literals;

constexpr int kApp0 = 0xe0;
constexpr int kApp1 = 0xe1;
constexpr int kApp2 = 0xe2;
constexpr int kApp12 = 0xec;
constexpr int kApp13 = 0xed;
constexpr int kApp14 = 0xee;
constexpr int kComment = 0xfe;
constexpr std::size_t kLongestMarker = 65533;

constexpr std::string_view kJfif = "JFIF\0"sv;
constexpr std::string_view kExif = "Exif\0\0"sv;
constexpr std::string_view kXmp = "http://ns.adobe.com/xap/1.0/\0"sv;
constexpr std::string_view kXmpExtension = "http://ns.adobe.com/xmp/extension/\0"sv;
constexpr std::string_view kProfile = "ICC_PROFILE\0"sv;
constexpr std::string_view kPhotoshop = "Photoshop 3.0\0"sv;

bool is(const JpegMarker& marker, int kind, std::string_view signature) {
    return marker.marker == kind && marker.data.size() >= signature.size() &&
           std::equal(signature.begin(), signature.end(), marker.data.begin(),
                      [](char a, std::uint8_t b) { return static_cast<std::uint8_t>(a) == b; });
}

Bytes bodyOf(const JpegMarker& marker, std::string_view signature) {
    Bytes body = marker.data;
    body.erase(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(signature.size()));
    return body;
}

template <typename Body>
JpegMarker make(int kind, std::string_view signature, const Body& body) {
    JpegMarker marker{kind, {signature.begin(), signature.end()}};
    marker.data.insert(marker.data.end(), body.begin(), body.end());
    return marker;
}

template <typename Body>
bool add(std::vector<JpegMarker>& markers, int kind, std::string_view signature, const Body& body) {
    if (body.size() > kLongestMarker - signature.size()) return false;
    if (!body.empty()) markers.push_back(make(kind, signature, body));
    return true;
}

/// The marker without the thumbnail behind its 14 bytes.
JpegMarker cleanJfif(const JpegMarker& marker, LeftOut& left_out) {
    constexpr std::size_t kSize = 14;
    JpegMarker kept = marker;
    kept.data.resize(kSize);
    if (marker.data.size() > kSize) left_out.add("the JFIF thumbnail");
    kept.data[kSize - 2] = kept.data[kSize - 1] = 0;
    return kept;
}

/// Application data that cannot be kept.
std::string nameOf(const JpegMarker& marker) {
    if (is(marker, kApp0, "JFXX\0"sv)) return "the JFIF thumbnail";
    if (is(marker, kApp1, kXmpExtension)) return "extended XMP data";
    if (is(marker, kApp2, "MPF\0"sv)) return "the list of further pictures (MPF)";
    if (is(marker, kApp2, "urn:iso:std:iso:ts:21496"sv)) return "the gain map's metadata";
    if (marker.marker == kComment) return "a comment";
    return "APP" + std::to_string(marker.marker - kApp0) + " data";
}

}  // namespace

std::vector<JpegMarker> cleanMarkers(const std::vector<JpegMarker>& markers, std::uint32_t width,
                                     std::uint32_t height, LeftOut& left_out) {
    std::vector<JpegMarker> kept;
    Bytes photoshop;
    bool has_exif = false;
    bool has_xmp = false;
    for (const JpegMarker& marker : markers) {
        if (is(marker, kApp2, kProfile)) continue;
        if (is(marker, kApp0, kJfif)) {
            kept.push_back(cleanJfif(marker, left_out));
        } else if (is(marker, kApp1, kExif)) {
            if (!has_exif) addExif(kept, cleanExif(bodyOf(marker, kExif), width, height, left_out));
            has_exif = true;
        } else if (is(marker, kApp1, kXmp)) {
            const Bytes packet = bodyOf(marker, kXmp);
            if (!has_xmp) addXmp(kept, cleanXmp({packet.begin(), packet.end()}, width, height, left_out));
            has_xmp = true;
        } else if (is(marker, kApp13, kPhotoshop)) {
            const Bytes part = bodyOf(marker, kPhotoshop);
            photoshop.insert(photoshop.end(), part.begin(), part.end());
        } else if (is(marker, kApp14, "Adobe"sv) && marker.data.size() >= 12) {
            kept.push_back({kApp14, {marker.data.begin(), marker.data.begin() + 12}});
        } else {
            constexpr std::size_t kSmall = 64;
            const bool is_text =
                marker.marker == kComment || (is(marker, kApp12, "Ducky"sv) && marker.data.size() <= kSmall);
            if (is_text && !mayHoldPicture(marker.data.data(), marker.data.size())) {
                kept.push_back(marker);
            } else {
                left_out.add(nameOf(marker));
            }
        }
    }
    add(kept, kApp13, kPhotoshop, cleanPhotoshop(photoshop, left_out));
    return kept;
}

Bytes exifOf(const std::vector<JpegMarker>& markers) {
    for (const JpegMarker& marker : markers) {
        if (is(marker, kApp1, kExif)) return bodyOf(marker, kExif);
    }
    return {};
}

std::string xmpOf(const std::vector<JpegMarker>& markers) {
    for (const JpegMarker& marker : markers) {
        if (!is(marker, kApp1, kXmp)) continue;
        const Bytes packet = bodyOf(marker, kXmp);
        return {packet.begin(), packet.end()};
    }
    return {};
}

bool addExif(std::vector<JpegMarker>& markers, const Bytes& exif) {
    return add(markers, kApp1, kExif, exif);
}

bool addXmp(std::vector<JpegMarker>& markers, const std::string& xmp) {
    return add(markers, kApp1, kXmp, xmp);
}

void nameTrailer(const Bytes& bytes, std::size_t start, LeftOut& left_out) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(start, bytes.size()));
    const auto first = std::find_if(begin, bytes.end(), [](std::uint8_t byte) { return byte != 0; });
    if (first == bytes.end()) return;
    constexpr std::string_view kFilm = "ftyp";
    constexpr std::ptrdiff_t kNear = 64;
    const auto near = begin + std::min<std::ptrdiff_t>(kNear, bytes.end() - begin);
    const auto found = std::search(begin, near, kFilm.begin(), kFilm.end(),
                                   [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); });
    if (found != near) {
        left_out.add("the film after the picture");
    } else if (bytes.end() - first > 2 && first[0] == 0xff && first[1] == 0xd8) {
        left_out.add("the pictures after the picture (a gain map or previews)");
    } else {
        left_out.add(std::to_string(bytes.end() - begin) + " bytes after the picture");
    }
}

}  // namespace pconv::app
