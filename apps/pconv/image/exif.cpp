#include "image/exif.h"

#include <algorithm>
#include <array>
#include <set>

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
constexpr std::uint16_t kDirectory = 13;
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

/// A value of more than 4 bytes lies where it was read, which outlives the entry: many entries may point to
/// one place.
struct Entry {
    std::uint16_t tag = 0;
    std::uint16_t type = 0;
    std::uint32_t count = 0;
    std::size_t size = 0;
    const std::uint8_t* outside = nullptr;
    std::array<std::uint8_t, 4> inside{};

    const std::uint8_t* value() const { return outside != nullptr ? outside : inside.data(); }
};
using Directory = std::vector<Entry>;

Entry makeEntry(std::uint16_t tag, std::uint16_t type, std::uint32_t count, const std::uint8_t* data,
                std::size_t size) {
    Entry entry{tag, type, count, size};
    if (size > entry.inside.size()) {
        entry.outside = data;
    } else {
        std::copy(data, data + size, entry.inside.begin());
    }
    return entry;
}

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
            const std::uint16_t type = u16(here + 2);
            const std::uint32_t number = u32(here + 4);
            const std::uint64_t bytes = std::uint64_t{sizeOfType(type)} * number;
            const std::size_t from = bytes <= 4 ? here + 8 : u32(here + 8);
            if (bytes == 0 || from > size() || size() - from < bytes) continue;
            entries.push_back(
                makeEntry(u16(here), type, number, bytes_.data() + from, static_cast<std::size_t>(bytes)));
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
    if ((entry.type != kShort && entry.type != kLong && entry.type != kDirectory) || entry.size < bytes)
        return 0;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) {
        const std::uint32_t byte = entry.value()[i];
        value |= byte << 8 * (big ? bytes - 1 - i : i);
    }
    return value;
}

const Entry* find(const Directory& entries, std::uint16_t tag) {
    const auto found =
        std::find_if(entries.begin(), entries.end(), [tag](const Entry& entry) { return entry.tag == tag; });
    return found == entries.end() ? nullptr : &*found;
}

std::size_t sizeOf(const Directory& entries) {
    std::size_t size = 2 + entries.size() * kEntryBytes + 4;
    for (const Entry& entry : entries) {
        if (entry.outside != nullptr) size += entry.size + entry.size % 2;
    }
    return size;
}

/// Writes directories that come to lie behind the `before` bytes of a file.
class Writer {
  public:
    Writer(bool big, std::size_t before) : big_(big), before_(before) {}

    void put(std::uint32_t value, unsigned bytes) {
        for (unsigned i = 0; i < bytes; ++i)
            bytes_.push_back(static_cast<std::uint8_t>(value >> 8 * (big_ ? bytes - 1 - i : i)));
    }

    /// Appends a directory whose last entry's values follow it.
    void directory(Directory entries) {
        std::stable_sort(entries.begin(), entries.end(),
                         [](const Entry& a, const Entry& b) { return a.tag < b.tag; });
        put(static_cast<std::uint32_t>(entries.size()), 2);
        std::size_t values = end() + entries.size() * kEntryBytes + 4;
        for (const Entry& entry : entries) {
            put(entry.tag, 2);
            put(entry.type, 2);
            put(entry.count, 4);
            if (entry.outside != nullptr) {
                put(static_cast<std::uint32_t>(values), 4);
                values += entry.size + entry.size % 2;
            } else {
                bytes_.insert(bytes_.end(), entry.inside.begin(), entry.inside.end());
            }
        }
        put(0, 4);  // no directory follows
        for (const Entry& entry : entries) {
            if (entry.outside == nullptr) continue;
            bytes_.insert(bytes_.end(), entry.outside, entry.outside + entry.size);
            if (entry.size % 2 != 0) bytes_.push_back(0);
        }
    }

    std::size_t end() const { return before_ + bytes_.size(); }
    Bytes take() { return std::move(bytes_); }

  private:
    bool big_;
    std::size_t before_;
    Bytes bytes_;
};

Entry number(bool big, std::uint16_t tag, std::uint32_t value) {
    Writer writer(big, 0);
    writer.put(value, 4);
    return makeEntry(tag, kLong, 1, writer.take().data(), 4);
}

/// The directories that describe a picture, without their pointers to each other.
struct Directories {
    Directory picture, exposure, gps, interop;
};

/// Appends them all, and returns where the first one comes to lie.
std::size_t append(Writer& writer, bool big, Directories all) {
    constexpr std::size_t kPointer = kEntryBytes;
    const std::size_t picture_at = writer.end();
    const bool has_exposure = !all.exposure.empty() || !all.interop.empty();
    const std::size_t exposure_at =
        picture_at + sizeOf(all.picture) + (has_exposure ? kPointer : 0) + (all.gps.empty() ? 0 : kPointer);
    const std::size_t interop_at = exposure_at + sizeOf(all.exposure) + (all.interop.empty() ? 0 : kPointer);
    const std::size_t gps_at = !has_exposure         ? exposure_at
                               : all.interop.empty() ? interop_at
                                                     : interop_at + sizeOf(all.interop);
    const auto point = [big](Directory& from, std::uint16_t tag, std::size_t to) {
        from.push_back(number(big, tag, static_cast<std::uint32_t>(to)));
    };
    if (!all.interop.empty()) point(all.exposure, kInteropPointer, interop_at);
    if (has_exposure) point(all.picture, kExifPointer, exposure_at);
    if (!all.gps.empty()) point(all.picture, kGpsPointer, gps_at);
    writer.directory(std::move(all.picture));
    if (has_exposure) writer.directory(std::move(all.exposure));
    if (!all.interop.empty()) writer.directory(std::move(all.interop));
    if (!all.gps.empty()) writer.directory(std::move(all.gps));
    return picture_at;
}

/// Only the known tags, each once; values that may hold a picture are none.
template <std::size_t count>
Directory known(const Directory& entries, const TagRange (&ranges)[count], LeftOut& left_out) {
    constexpr std::size_t kLongestData = 4096;
    constexpr std::size_t kLongestText = std::size_t{1} << 20;
    Directory kept;
    std::set<std::uint16_t> seen;
    for (const Entry& entry : entries) {
        const bool is_known = std::any_of(std::begin(ranges), std::end(ranges), [&](const TagRange& range) {
            return entry.tag >= range.first && entry.tag <= range.last;
        });
        if (!is_known || !seen.insert(entry.tag).second) continue;
        const bool is_data = entry.type == 1 || entry.type == 7;
        if (entry.size > (is_data ? kLongestData : kLongestText) ||
            mayHoldPicture(entry.value(), entry.size)) {
            left_out.add("Exif values");
            continue;
        }
        kept.push_back(entry);
    }
    return kept;
}

/// What comes before the first directory.
Writer startOf(bool big) {
    Writer writer(big, 0);
    writer.put(big ? 0x4d4d : 0x4949, 2);
    writer.put(42, 2);
    writer.put(kHeaderBytes, 4);
    return writer;
}

/// The directory that an entry of another one points to.
Directory below(const Reader& reader, const Directory& entries, std::uint16_t tag) {
    const Entry* entry = find(entries, tag);
    return entry == nullptr ? Directory() : reader.directory(numberOf(*entry, reader.big()), nullptr);
}

/// The data rebuilt; where directories follow the first one that is what `others` are.
Bytes clean(const Bytes& exif, std::uint32_t width, std::uint32_t height, const char* others,
            LeftOut& left_out) {
    const Reader reader(exif);
    if (!reader.isExif()) {
        if (!exif.empty()) left_out.add("damaged Exif data");
        return {};
    }
    std::size_t next = 0;
    const Directory first = reader.directory(reader.u32(4), &next);
    if (next != 0) left_out.add(others);
    const Directory exposure = below(reader, first, kExifPointer);
    if (find(exposure, kMakerNote) != nullptr) left_out.add("the maker's notes");

    Directories all;
    all.picture = known(first, kPictureTags, left_out);
    all.exposure = known(exposure, kExposureTags, left_out);
    all.gps = known(below(reader, first, kGpsPointer), kGpsTags, left_out);
    all.interop = known(below(reader, exposure, kInteropPointer), kInteropTags, left_out);
    for (Entry& entry : all.exposure) {
        if (entry.tag == kWidth) entry = number(reader.big(), kWidth, width);
        if (entry.tag == kHeight) entry = number(reader.big(), kHeight, height);
    }
    if (all.picture.empty() && all.exposure.empty() && all.gps.empty() && all.interop.empty()) return {};
    Writer writer = startOf(reader.big());
    append(writer, reader.big(), std::move(all));
    return writer.take();
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
    return clean(exif, width, height, "the Exif thumbnail", left_out);
}

Bytes cleanExifOfTiff(const Bytes& tiff, std::uint32_t width, std::uint32_t height, LeftOut& left_out) {
    return clean(tiff, width, height, "all pages but one", left_out);
}

bool isBigEndian(const Bytes& exif) {
    return Reader(exif).big();
}

void addExifToTiff(const Bytes& exif, Bytes& tiff) {
    const Reader reader(exif);
    const Reader file(tiff);
    if (!reader.isExif() || !file.isExif() || file.big() != reader.big()) return;
    const Directory first = reader.directory(reader.u32(4), nullptr);
    Directories all;
    all.picture = file.directory(file.u32(4), nullptr);
    const std::size_t own = all.picture.size();
    const auto isOfFile = [&](const Entry& entry) {
        return std::any_of(all.picture.begin(), all.picture.begin() + static_cast<std::ptrdiff_t>(own),
                           [&](const Entry& other) { return other.tag == entry.tag; });
    };
    for (const Entry& entry : first) {
        const bool is_pointer = entry.tag == kExifPointer || entry.tag == kGpsPointer;
        // How a JPEG stores its colours is not how this file does.
        const bool is_coding = entry.tag >= 0x0211 && entry.tag <= 0x0214;
        if (!is_pointer && !is_coding && !isOfFile(entry)) all.picture.push_back(entry);
    }
    all.exposure = below(reader, first, kExifPointer);
    all.interop = below(reader, all.exposure, kInteropPointer);
    all.exposure.erase(std::remove_if(all.exposure.begin(), all.exposure.end(),
                                      [](const Entry& entry) { return entry.tag == kInteropPointer; }),
                       all.exposure.end());
    all.gps = below(reader, first, kGpsPointer);

    Writer writer(reader.big(), tiff.size() + tiff.size() % 2);
    const std::size_t at = append(writer, reader.big(), std::move(all));
    const Bytes directories = writer.take();
    Writer pointer(reader.big(), 0);
    pointer.put(static_cast<std::uint32_t>(at), 4);
    const Bytes place = pointer.take();
    std::copy(place.begin(), place.end(), tiff.begin() + 4);
    tiff.resize(tiff.size() + tiff.size() % 2);
    tiff.insert(tiff.end(), directories.begin(), directories.end());
}

std::vector<ExifText> exifTexts(const Bytes& exif) {
    std::vector<ExifText> texts;
    const Reader reader(exif);
    if (!reader.isExif()) return texts;
    for (const Entry& entry : reader.directory(reader.u32(4), nullptr)) {
        if (entry.type != kAscii) continue;
        const std::uint8_t* last = entry.value() + entry.size;
        texts.push_back({entry.tag, {entry.value(), std::find(entry.value(), last, 0)}});
    }
    return texts;
}

Bytes makeExif(unsigned orientation, const std::vector<ExifText>& texts) {
    Writer writer = startOf(false);
    const std::uint8_t turn[2] = {static_cast<std::uint8_t>(orientation), 0};
    Directory entries = {makeEntry(kOrientation, kShort, 1, turn, sizeof turn)};
    for (const ExifText& text : texts) {
        const std::size_t size = text.text.size() + 1;  // with the zero at its end
        entries.push_back(makeEntry(text.tag, kAscii, static_cast<std::uint32_t>(size),
                                    reinterpret_cast<const std::uint8_t*>(text.text.c_str()), size));
    }
    writer.directory(std::move(entries));
    return writer.take();
}

}  // namespace pconv::app
