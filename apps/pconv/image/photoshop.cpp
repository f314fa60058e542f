#include "image/photoshop.h"

#include <algorithm>
#include <cstring>

namespace pconv::app {
namespace {

constexpr unsigned kResolution = 1005;
constexpr unsigned kIptc = 1028;
constexpr unsigned kCopyrightFlag = 1034;
constexpr unsigned kUrl = 1035;
constexpr unsigned kOldThumbnail = 1033;
constexpr unsigned kThumbnail = 1036;

std::size_t number(const Bytes& bytes, std::size_t at, unsigned size) {
    std::size_t value = 0;
    for (unsigned i = 0; i < size; ++i) value = value << 8 | bytes[at + i];
    return value;
}

void put(Bytes& bytes, std::size_t value, unsigned size) {
    for (unsigned i = size; i-- > 0;) bytes.push_back(static_cast<std::uint8_t>(value >> 8 * i));
}

Bytes part(const Bytes& bytes, std::size_t at, std::size_t size) {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(at);
    return {begin, begin + static_cast<std::ptrdiff_t>(size)};
}

}  // namespace

Bytes cleanIptc(const Bytes& data, LeftOut& left_out) {
    constexpr std::uint8_t kTagMark = 0x1c;
    Bytes kept;
    std::size_t at = 0;
    while (at + 5 <= data.size() && data[at] == kTagMark) {
        const unsigned record = data[at + 1];
        const unsigned set = data[at + 2];
        const std::size_t size = number(data, at + 3, 2);
        // An extended size is for what is too large for a caption.
        if (size > 0x7fff || size > data.size() - at - 5) {
            left_out.add("IPTC data");
            return kept;
        }
        const bool is_preview = record > 2 || (record == 2 && set >= 200 && set <= 202);
        if (is_preview || mayHoldPicture(&data[at], 5 + size)) {
            left_out.add("IPTC data");
        } else {
            const Bytes entry = part(data, at, 5 + size);
            kept.insert(kept.end(), entry.begin(), entry.end());
        }
        at += 5 + size;
    }
    return kept;
}

Bytes cleanPhotoshop(const Bytes& resources, LeftOut& left_out) {
    Bytes kept;
    std::size_t at = 0;
    while (at + 8 <= resources.size() && std::memcmp(&resources[at], "8BIM", 4) == 0) {
        const std::size_t id = number(resources, at + 4, 2);
        const std::size_t name = (resources[at + 6] | 1U) + 1U;  // its length, itself and a pad
        if (resources.size() - at < 6 + name + 4) break;
        const std::size_t size = number(resources, at + 6 + name, 4);
        const std::size_t start = at + 6 + name + 4;
        if (size > resources.size() - start) break;
        Bytes data = part(resources, start, size);
        if (id == kIptc) data = cleanIptc(data, left_out);
        const bool is_kept = id == kResolution || id == kIptc || id == kCopyrightFlag || id == kUrl;
        if (id == kThumbnail || id == kOldThumbnail) left_out.add("Photoshop's thumbnail");
        if (is_kept && !data.empty() && (id == kIptc || !mayHoldPicture(data.data(), data.size()))) {
            kept.insert(kept.end(), {'8', 'B', 'I', 'M'});
            put(kept, id, 2);
            put(kept, 0, 2);  // no name
            put(kept, data.size(), 4);
            kept.insert(kept.end(), data.begin(), data.end());
            if (data.size() % 2 != 0) kept.push_back(0);
        }
        at = start + size + size % 2;
    }
    return kept;
}

}  // namespace pconv::app
