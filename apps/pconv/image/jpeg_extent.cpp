#include "image/jpeg_extent.h"

namespace pconv::app {
namespace {

constexpr std::uint8_t kEnd = 0xd9;
constexpr std::uint8_t kScan = 0xda;

bool standsAlone(std::uint8_t marker) {
    return marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7);
}

/// What can stand between two scans, or between the last one and the end: tables, a comment, application
/// data.
bool mayFollowAScan(std::uint8_t marker) {
    return marker == 0xc4 || marker == 0xcc || marker == kScan || (marker >= 0xdb && marker <= 0xdd) ||
           (marker >= 0xe0 && marker <= 0xef) || marker == 0xfe;
}

/// Goes over segments from `at` on up to a scan's data or the end marker; false where they lead nowhere.
bool followSegments(const Bytes& bytes, std::size_t& at, std::size_t& end_marker, bool after_scan) {
    while (at + 1 < bytes.size()) {
        if (bytes[at] != 0xff) return false;
        const std::uint8_t marker = bytes[at + 1];
        if (marker == 0xff) {  // padding
            ++at;
            continue;
        }
        if (marker == kEnd) {
            end_marker = at;
            return true;
        }
        if (standsAlone(marker)) {
            at += 2;
            continue;
        }
        if ((after_scan && !mayFollowAScan(marker)) || bytes.size() - at < 4) return false;
        const std::size_t length = std::size_t{bytes[at + 2]} << 8 | bytes[at + 3];
        if (length < 2 || length > bytes.size() - at - 2) return false;
        at += 2 + length;
        if (marker == kScan) return true;
    }
    return false;
}

/// The first marker after a scan's data but for restarts, or the file's end.
std::size_t endOfScan(const Bytes& bytes, std::size_t at) {
    for (; at + 1 < bytes.size(); ++at) {
        if (bytes[at] != 0xff || bytes[at + 1] == 0 || bytes[at + 1] == 0xff || standsAlone(bytes[at + 1])) {
            continue;
        }
        return at;
    }
    return bytes.size();
}

}  // namespace

JpegExtent findJpegExtent(const Bytes& bytes) {
    constexpr std::size_t kNone = static_cast<std::size_t>(-1);
    std::size_t at = 2;
    std::size_t end_marker = kNone;
    JpegExtent extent{bytes.size(), false, bytes.size()};
    bool after_scan = false;
    while (followSegments(bytes, at, end_marker, after_scan)) {
        if (end_marker != kNone) return {end_marker, true, end_marker + 2};
        at = endOfScan(bytes, at);
        extent = {at, false, at};
        after_scan = true;
    }
    return extent;
}

}  // namespace pconv::app
