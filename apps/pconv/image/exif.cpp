#include "image/exif.h"

#include <algorithm>
#include <array>

namespace pconv::app {
namespace {

constexpr std::uint16_t kOrientation = 0x0112;
constexpr std::uint16_t kExifPointer = 0x8769;
constexpr std::uint16_t kGpsPointer = 0x8825;
constexpr std::uint16_t kInteropPointer = 0xa005;
constexpr std::uint16_t kMakerNote = 0x927c;
constexpr std::uint16_t kWidth = 0xa002;
constexpr std::uint16_t kHeight = 0xa003;
constexpr std::uint16_t kAscii = 2;
constexpr std::uint16_t kShort = 3;
constexpr std::uint16_t kLong = 4;
constexpr std::size_t kHeaderBytes = 8;
constexpr std::size_t kEntryBytes = 12;

struct TagRange {
    std::uint16_t first;
    std::uint16_t last;
};

// Tags of the standard that describe the picture as a whole, whatever its pixels are.
constexpr TagRange kPictureTags[] = {{0x010d, 0x0110}, {kOrientation, kOrientation},
                                     {0x011a, 0x011b}, {0x0128, 0x0128},
                                     {0x0131, 0x0132}, {0x013b, 0x013c},
                                     {0x013e, 0x013f}, {0x0211, 0x0211},
                                     {0x0213, 0x0214}, {0x4746, 0x4746},
                                     {0x4749, 0x4749}, {0x8298, 0x8298},
                                     {0x9c9b, 0x9c9f}};
constexpr TagRange kExposureTags[] = {{0x829a, 0x829a}, {0x829d, 0x829d}, {0x8822, 0x8822}, {0x8824, 0x8824},
                                      {0x8827, 0x8828}, {0x8830, 0x8835}, {0x9000, 0x9000}, {0x9003, 0x9004},
                                      {0x9010, 0x9012}, {0x9101, 0x9101}, {0x9201, 0x920a}, {0x9214, 0x9214},
                                      {0x9286, 0x9286}, {0x9290, 0x9292}, {0x9400, 0x9405}, {0xa000, 0xa004},
                                      {0xa20b, 0xa20c}, {0xa20e, 0xa210}, {0xa214, 0xa215}, {0xa217, 0xa217},
                                      {0xa300, 0xa302}, {0xa401, 0xa40a}, {0xa40c, 0xa40c}, {0xa420, 0xa420},
                                      {0xa430, 0xa439}, {0xa460, 0xa462}, {0xa500, 0xa500}};
constexpr TagRange kGpsTags[] = {{0x0000, 0x001f}};
constexpr TagRange kInteropTags[] = {{0x0001, 0x0002}};

struct Entry {
    std::uint16_t tag = 0;
    std::uint16_t type = 0;
    std::uint32_t count = 0;
    Bytes value;
};
using Directory = std::vector<Entry>;

std::size_t sizeOfType(unsigned type) {
    constexpr std::uint8_t kSizes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
    return type < std::size(kSizes) ? kSizes[type] : 0;
}

/// The bytes with their order. What lies beyond their end reads as 0.
class Reader {
  public:
    explicit Reader(const Bytes& bytes) : bytes_(bytes), big_(!bytes.empty() && bytes[0] == 'M') {}

    bool isExif() const {
        return bytes_.size() >= kHeaderBytes && (bytes_[0] == 'M' || bytes_[0] == 'I') &&
               bytes_[0] == bytes_[1] && u16(2) == 42;
    }
    bool big() const { return big_; }
    std::size_t size() const { return bytes_.size(); }
    std::uint16_t u16(std::size_t at) const { return static_cast<std::uint16_t>(number(at, 2)); }
    std::uint32_t u32(std::size_t at) const { return number(at, 4); }

    /// The entries of a directory whose values lie within the data; `next` is where another one follows.
    Directory directory(std::size_t at, std::size_t* next) const {
        Directory entries;
        if (next != nullptr) *next = 0;
        if (at == 0 || at > size() || size() - at < 2) return entries;
        const std::size_t count = std::min<std::size_t>(u16(at), (size() - at - 2) / kEntryBytes);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t here = at + 2 + i * kEntryBytes;
            Entry entry{u16(here), u16(here + 2), u32(here + 4), {}};
            const std::uint64_t bytes = std::uint64_t{sizeOfType(entry.type)} * entry.count;
            const std::size_t from = bytes <= 4 ? here + 8 : u32(here + 8);
            if (bytes == 0 || from > size() || size() - from < bytes) continue;
            const auto begin = bytes_.begin() + static_cast<std::ptrdiff_t>(from);
            entry.value.assign(begin, begin + static_cast<std::ptrdiff_t>(bytes));
            entries.push_back(std::move(entry));
        }
        if (next != nullptr) *next = u32(at + 2 + std::size_t{u16(at)} * kEntryBytes);
        return entries;
    }

  private:
    std::uint32_t number(std::size_t at, unsigned bytes) const {
        if (at > size() || size() - at < bytes) return 0;
        std::uint32_t value = 0;
        for (unsigned i = 0; i < bytes; ++i) {
            const std::uint32_t byte = bytes_[at + i];
            value |= byte << 8 * (big_ ? bytes - 1 - i : i);
        }
        return value;
    }

    const Bytes& bytes_;
    bool big_;
};

/// The first number of an entry of whole numbers.
std::uint32_t numberOf(const Entry& entry, bool big) {
    const std::size_t bytes = sizeOfType(entry.type);
    if ((entry.type != kShort && entry.type != kLong && entry.type != 13) || entry.value.size() < bytes)
        return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
        const std::uint32_t byte = entry.value[i];
        value |= byte << 8 * (big ? bytes - 1 - i : i);
    }
    return value;
}

const Entry* find(const Directory& entries, std::uint16_t tag) {
    const auto found =
        std::find_if(entries.begin(), entries.end(), [tag](const Entry& entry) { return entry.tag == tag; });
    return found == entries.end() ? nullptr : &*found;
}

class Writer {
  public:
    explicit Writer(bool big) : big_(big) {
        const std::uint8_t letter = big ? 'M' : 'I';
        bytes_ = {letter, letter};
        put(42, 2);
        put(kHeaderBytes, 4);
    }

    /// Appends a directory whose last entry's values follow it; returns where it lies.
    std::size_t directory(Directory entries) {
        std::stable_sort(entries.begin(), entries.end(),
                         [](const Entry& a, const Entry& b) { return a.tag < b.tag; });
        const std::size_t at = bytes_.size();
        put(static_cast<std::uint32_t>(entries.size()), 2);
        std::size_t values = at + 2 + entries.size() * kEntryBytes + 4;
        for (const Entry& entry : entries) {
            put(entry.tag, 2);
            put(entry.type, 2);
            put(entry.count, 4);
            if (entry.value.size() > 4) {
                put(static_cast<std::uint32_t>(values), 4);
                values += entry.value.size() + entry.value.size() % 2;
            } else {
                bytes_.insert(bytes_.end(), entry.value.begin(), entry.value.end());
                bytes_.insert(bytes_.end(), 4 - entry.value.size(), 0);
            }
        }
        put(0, 4);  // no directory follows
        for (const Entry& entry : entries) {
            if (entry.value.size() <= 4) continue;
            bytes_.insert(bytes_.end(), entry.value.begin(), entry.value.end());
            if (entry.value.size() % 2 != 0) bytes_.push_back(0);
        }
        return at;
    }

    std::size_t size() const { return bytes_.size(); }

    /// Sets the value of a directory's entry, which points to what comes next.
    void pointToEnd(std::size_t directory, std::uint16_t tag) {
        const Reader reader(bytes_);
        const std::size_t count = reader.u16(directory);
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t here = directory + 2 + i * kEntryBytes;
            if (reader.u16(here) != tag) continue;
            const Bytes number = numberBytes(static_cast<std::uint32_t>(bytes_.size()), 4);
            std::copy(number.begin(), number.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(here + 8));
        }
    }

    Bytes numberBytes(std::uint32_t value, unsigned bytes) const {
        Bytes number(bytes);
        for (unsigned i = 0; i < bytes; ++i)
            number[i] = static_cast<std::uint8_t>(value >> 8 * (big_ ? bytes - 1 - i : i));
        return number;
    }

    Bytes take() { return std::move(bytes_); }

  private:
    void put(std::uint32_t value, unsigned bytes) {
        const Bytes number = numberBytes(value, bytes);
        bytes_.insert(bytes_.end(), number.begin(), number.end());
    }

    bool big_;
    Bytes bytes_;
};

/// Only the known tags, each once; values that may hold a picture are none.
template <std::size_t count>
Directory known(const Directory& entries, const TagRange (&ranges)[count], LeftOut& left_out) {
    Directory kept;
    for (const Entry& entry : entries) {
        const bool is_known = std::any_of(std::begin(ranges), std::end(ranges), [&](const TagRange& range) {
            return entry.tag >= range.first && entry.tag <= range.last;
        });
        if (!is_known || find(kept, entry.tag) != nullptr) continue;
        constexpr std::size_t kLongestData = 4096;
        const bool is_data = entry.type == 1 || entry.type == 7;
        if ((is_data && entry.value.size() > kLongestData) ||
            mayHoldPicture(entry.value.data(), entry.value.size())) {
            left_out.add("Exif values");
            continue;
        }
        kept.push_back(entry);
    }
    return kept;
}

void setNumber(Directory& entries, std::uint16_t tag, std::uint32_t value, const Writer& writer) {
    for (Entry& entry : entries) {
        if (entry.tag == tag) entry = {tag, kLong, 1, writer.numberBytes(value, 4)};
    }
}

Entry pointer(std::uint16_t tag) {
    return {tag, kLong, 1, Bytes(4)};
}

}  // namespace

unsigned exifOrientation(const Bytes& exif) {
    const Reader reader(exif);
    if (!reader.isExif()) return 1;
    const Directory first = reader.directory(reader.u32(4), nullptr);
    const Entry* entry = find(first, kOrientation);
    const std::uint32_t value = entry == nullptr ? 1 : numberOf(*entry, reader.big());
    return value >= 1 && value <= 8 ? value : 1;
}

Bytes cleanExif(const Bytes& exif, std::uint32_t width, std::uint32_t height, LeftOut& left_out) {
    const Reader reader(exif);
    if (!reader.isExif()) {
        if (!exif.empty()) left_out.add("damaged Exif data");
        return {};
    }
    std::size_t next = 0;
    const Directory first = reader.directory(reader.u32(4), &next);
    if (next != 0) left_out.add("the Exif thumbnail");
    const auto below = [&](const Directory& entries, std::uint16_t tag) {
        const Entry* entry = find(entries, tag);
        return entry == nullptr ? Directory() : reader.directory(numberOf(*entry, reader.big()), nullptr);
    };
    const Directory exposure = below(first, kExifPointer);
    if (find(exposure, kMakerNote) != nullptr) left_out.add("the maker's notes");

    Writer writer(reader.big());
    Directory picture_tags = known(first, kPictureTags, left_out);
    Directory exposure_tags = known(exposure, kExposureTags, left_out);
    const Directory gps_tags = known(below(first, kGpsPointer), kGpsTags, left_out);
    const Directory interop_tags = known(below(exposure, kInteropPointer), kInteropTags, left_out);
    setNumber(exposure_tags, kWidth, width, writer);
    setNumber(exposure_tags, kHeight, height, writer);
    if (!interop_tags.empty()) exposure_tags.push_back(pointer(kInteropPointer));
    if (!exposure_tags.empty()) picture_tags.push_back(pointer(kExifPointer));
    if (!gps_tags.empty()) picture_tags.push_back(pointer(kGpsPointer));
    if (picture_tags.empty()) return {};
    const std::size_t picture_at = writer.directory(picture_tags);
    if (!exposure_tags.empty()) {
        writer.pointToEnd(picture_at, kExifPointer);
        const std::size_t exposure_at = writer.directory(exposure_tags);
        if (!interop_tags.empty()) {
            writer.pointToEnd(exposure_at, kInteropPointer);
            writer.directory(interop_tags);
        }
    }
    if (!gps_tags.empty()) {
        writer.pointToEnd(picture_at, kGpsPointer);
        writer.directory(gps_tags);
    }
    return writer.take();
}

std::vector<ExifText> exifTexts(const Bytes& exif) {
    std::vector<ExifText> texts;
    const Reader reader(exif);
    if (!reader.isExif()) return texts;
    for (const Entry& entry : reader.directory(reader.u32(4), nullptr)) {
        if (entry.type != kAscii) continue;
        const auto end = std::find(entry.value.begin(), entry.value.end(), 0);
        texts.push_back({entry.tag, {entry.value.begin(), end}});
    }
    return texts;
}

Bytes makeExif(unsigned orientation, const std::vector<ExifText>& texts) {
    Writer writer(false);
    Directory entries;
    entries.push_back({kOrientation, kShort, 1, writer.numberBytes(orientation, 2)});
    for (const ExifText& text : texts) {
        Bytes value(text.text.begin(), text.text.end());
        value.push_back(0);
        entries.push_back({text.tag, kAscii, static_cast<std::uint32_t>(value.size()), value});
    }
    writer.directory(entries);
    return writer.take();
}

}  // namespace pconv::app
