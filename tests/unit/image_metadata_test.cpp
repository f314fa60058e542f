// What a picture's file says of it: what shows the picture as it was must not come back, what is true must.
#include <gtest/gtest.h>
#ifdef PCONV_WITH_TIFF
#include <tiffio.h>
#endif
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "image/exif.h"
#include "image/io.h"
#include "image/jpeg_extent.h"
#include "image/photoshop.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"
#include "image/xmp.h"

namespace pconv::app {
namespace {

using namespace std::string_literals;

constexpr std::uint64_t kEnough = 1'000'000;
const std::string kSecret = "what was there";

Image flat(unsigned channels) {
    Image image;
    image.width = 40;
    image.height = 30;
    image.channels = channels;
    image.samples.assign(image.rowBytes() * image.height, 100);
    return image;
}

Bytes bytesOf(const std::string& text) {
    return {text.begin(), text.end()};
}

std::string textOf(const Bytes& bytes) {
    return {bytes.begin(), bytes.end()};
}

bool contains(const Bytes& bytes, const std::string& text) {
    return textOf(bytes).find(text) != std::string::npos;
}

std::string little(std::uint32_t value, unsigned bytes) {
    std::string text;
    for (unsigned i = 0; i < bytes; ++i) text += static_cast<char>(value >> 8 * i);
    return text;
}

std::string big(std::uint32_t value, unsigned bytes) {
    std::string text;
    for (unsigned i = bytes; i-- > 0;) text += static_cast<char>(value >> 8 * i);
    return text;
}

std::string entry(unsigned tag, unsigned type, std::uint32_t count, std::uint32_t value) {
    return little(tag, 2) + little(type, 2) + little(count, 4) + little(value, 4);
}

/// Exif data with an artist, an exposure time, a place, a wrong size, maker's notes and a thumbnail: the last
/// two hold the secret, and so do bytes that nothing points to.
std::string exifWithThumbnail() {
    const auto secret_size = static_cast<std::uint32_t>(kSecret.size());
    const std::uint32_t first = 8;
    const std::uint32_t artist = first + 2 + 4 * 12 + 4;
    const std::uint32_t exposure = artist + 8;
    const std::uint32_t note = exposure + 2 + 3 * 12 + 4;
    const std::uint32_t gps = note + secret_size;
    const std::uint32_t second = gps + 2 + 12 + 4;
    const std::uint32_t thumbnail = second + 2 + 2 * 12 + 4;
    std::string exif = "II" + little(42, 2) + little(first, 4);
    exif += little(4, 2) + entry(0x0112, 3, 1, 6) + entry(0x013b, 2, 7, artist) +
            entry(0x8769, 4, 1, exposure) + entry(0x8825, 4, 1, gps) + little(second, 4) + "Lotte R\0"s;
    exif += little(3, 2) + entry(0x8827, 3, 1, 400) + entry(0x927c, 7, secret_size, note) +
            entry(0xa002, 3, 1, 9999) + little(0, 4) + kSecret;
    exif += little(1, 2) + entry(0x0001, 2, 2, 'N') + little(0, 4);
    exif += little(2, 2) + entry(0x0201, 4, 1, thumbnail) + entry(0x0202, 4, 1, secret_size) + little(0, 4);
    return exif + kSecret + "behind it: " + kSecret;
}

TEST(Exif, IsRebuiltFromWhatDescribesTheWhole) {
    LeftOut left_out;
    const Bytes clean = cleanExif(bytesOf(exifWithThumbnail()), 40, 30, left_out);
    EXPECT_FALSE(contains(clean, kSecret));
    EXPECT_TRUE(contains(clean, "Lotte R"));
    EXPECT_EQ(exifOrientation(clean), 6U);
    EXPECT_TRUE(contains(clean, entry(0x8827, 3, 1, 400)));
    EXPECT_TRUE(contains(clean, entry(0xa002, 4, 1, 40))) << "the picture's own width";
    EXPECT_TRUE(contains(clean, entry(0x0001, 2, 2, 'N')));
    EXPECT_FALSE(contains(clean, little(9999, 2)));
    Notes notes;
    left_out.appendTo(notes);
    ASSERT_EQ(notes.size(), 1U);
    EXPECT_NE(notes[0].find("the Exif thumbnail"), std::string::npos);
    EXPECT_NE(notes[0].find("the maker's notes"), std::string::npos);
    // Once clean it stays as it is, and there is nothing more to say.
    LeftOut again;
    EXPECT_EQ(cleanExif(clean, 40, 30, again), clean);
    Notes none;
    again.appendTo(none);
    EXPECT_TRUE(none.empty());
}

TEST(Exif, DamageNeverEscapes) {
    const Bytes exif = bytesOf(exifWithThumbnail());
    for (std::size_t size = 0; size < exif.size(); ++size) {
        LeftOut left_out;
        cleanExif({exif.begin(), exif.begin() + static_cast<std::ptrdiff_t>(size)}, 40, 30, left_out);
    }
    for (std::size_t at = 0; at < exif.size(); ++at) {
        for (const unsigned value : {0x00U, 0x01U, 0x7fU, 0x80U, 0xffU}) {
            Bytes damaged = exif;
            damaged[at] = static_cast<std::uint8_t>(value);
            LeftOut left_out;
            const Bytes clean = cleanExif(damaged, 40, 30, left_out);
            EXPECT_LE(exifOrientation(clean), 8U);
        }
    }
}

TEST(Exif, ManyEntriesThatPointToOnePlaceAreCopiedOnce) {
    constexpr std::uint32_t kCount = 60'000;
    constexpr std::uint32_t kSize = 4U << 20;
    std::string exif = "II" + little(42, 2) + little(8, 4) + little(kCount, 2);
    const std::uint32_t place = 8 + 2 + kCount * 12 + 4;
    for (std::uint32_t i = 0; i < kCount; ++i) exif += entry(0x010d + i % 4, 2, kSize - place, place);
    exif += little(0, 4);
    exif += std::string(kSize - exif.size(), ' ');
    LeftOut left_out;
    EXPECT_LT(cleanExif(bytesOf(exif), 40, 30, left_out).size(), 100U);
    Notes notes;
    left_out.appendTo(notes);
    EXPECT_EQ(notes.size(), 1U);
}

TEST(Exif, BothByteOrdersAreRead) {
    std::string exif = "MM" + big(42, 2) + big(8, 4) + big(1, 2);
    exif += big(0x0112, 2) + big(3, 2) + big(1, 4) + big(8, 2) + big(0, 2) + big(0, 4);
    EXPECT_EQ(exifOrientation(bytesOf(exif)), 8U);
    LeftOut left_out;
    EXPECT_EQ(cleanExif(bytesOf(exif), 1, 1, left_out), bytesOf(exif));
    for (unsigned orientation = 1; orientation <= 8; ++orientation)
        EXPECT_EQ(exifOrientation(makeExif(orientation, {})), orientation);
    EXPECT_EQ(exifOrientation(makeExif(9, {})), 1U);
    EXPECT_EQ(exifOrientation({}), 1U);
    const std::vector<ExifText> texts = exifTexts(makeExif(1, {{0x013b, "Lotte R"}}));
    ASSERT_EQ(texts.size(), 1U);
    EXPECT_EQ(texts[0].text, "Lotte R");
}

std::string xmpPacket(const std::string& attributes, const std::string& elements) {
    return R"(<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">)"
           R"(<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="")"
           R"( xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:g="http://ns.adobe.com/hdr-gain-map/1.0/")"
           R"( xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:c="http://ns.google.com/photos/1.0/container/")"
           R"( xmlns:cam="http://ns.google.com/photos/1.0/camera/" xmlns:xap="http://ns.adobe.com/xap/1.0/")"
           R"( xmlns:xapGImg="http://ns.adobe.com/xap/1.0/g/img/")" +
           attributes + ">" + elements +
           "<dc:creator>Lotte R</dc:creator></rdf:Description></rdf:RDF></x:xmpmeta>" +
           R"(<?xpacket end="w"?>)";
}

std::string cleanOf(const std::string& packet, std::string* said = nullptr) {
    LeftOut left_out;
    std::string clean = cleanXmp(packet, 40, 30, left_out);
    Notes notes;
    left_out.appendTo(notes);
    if (said != nullptr) *said = notes.empty() ? "" : notes[0];
    return clean;
}

TEST(Xmp, WhatIsTrueStaysByteForByte) {
    std::string said;
    const std::string packet = xmpPacket(R"( tiff:ImageWidth="40" tiff:Orientation='6')",
                                         "<!-- < --><dc:title> a &lt; b </dc:title><dc:x/>");
    EXPECT_EQ(cleanOf(packet, &said), packet);
    EXPECT_EQ(said, "");
}

TEST(Xmp, WhatShowsOtherPicturesOrAnotherSizeIsTakenOut) {
    const std::string plain = xmpPacket("", "");
    std::string said;
    EXPECT_EQ(cleanOf(xmpPacket("", "<xap:Thumbnails><rdf:Alt><rdf:li><xapGImg:image>" + kSecret +
                                        "</xapGImg:image></rdf:li></rdf:Alt></xap:Thumbnails>"),
                      &said),
              plain);
    EXPECT_NE(said.find("XMP thumbnails"), std::string::npos);
    EXPECT_EQ(
        cleanOf(xmpPacket(R"( g:Version="1.0" g:GainMapMax='3')", "<g:Gamma><rdf:Seq/></g:Gamma>"), &said),
        plain);
    EXPECT_NE(said.find("the gain map's metadata"), std::string::npos);
    EXPECT_EQ(
        cleanOf(xmpPacket(R"( cam:MotionPhoto="1")", "<c:Directory><c:Directory/></c:Directory>"), &said),
        plain);
    EXPECT_NE(said.find("the film's metadata"), std::string::npos);
    EXPECT_EQ(cleanOf(xmpPacket(R"( tiff:ImageWidth="41")", "<tiff:ImageLength>31</tiff:ImageLength>")),
              plain);
    EXPECT_EQ(cleanOf("<?xpacket?><xap:Thumbnails>" + kSecret + "</xap:Thumbnails>>more", &said), "");
    EXPECT_EQ(said.find("damaged"), std::string::npos) << "and no words without an element";
    // A namespace is known by its address, whatever its prefix; and it ends with its element.
    EXPECT_EQ(cleanOf(xmpPacket("", R"(<z:A xmlns:z="http://ns.adobe.com/hdr-gain-map/1.0/"/>)")), plain);
    const std::string scoped = xmpPacket("", R"(<dc:b xmlns:g="urn:other"><g:Version>1</g:Version></dc:b>)");
    EXPECT_EQ(cleanOf(scoped), scoped);
}

TEST(Xmp, WhatIsNotWellFormedIsLeftOutWhole) {
    const std::string packet = xmpPacket(R"( g:Version="1.0")", "<xap:Thumbnails><a:b/></xap:Thumbnails>");
    for (std::size_t size = 1; size < packet.rfind("</x:xmpmeta>") + 12; ++size)
        EXPECT_EQ(cleanOf(packet.substr(0, size)), "") << size;
    for (const char* bad :
         {"<a", "<a>", "</a>", "<a></b>", "<!DOCTYPE a><a/>", "<a b>", "<a b=c/>", "<a b=\"/>", "plain"})
        EXPECT_EQ(cleanOf(bad), "") << bad;
    EXPECT_EQ(cleanOf("<a b=\""s + std::string(500, 'Q') + "\"/>"), "") << "a picture in base64";
    EXPECT_EQ(cleanOf("<a>\0</a>"s), "");
    std::string deep;
    for (int i = 0; i < 1000; ++i) deep += "<a>";
    EXPECT_EQ(cleanOf(deep), "");
}

std::string resource(unsigned id, const std::string& data) {
    return "8BIM" + big(id, 2) + big(0, 2) + big(static_cast<std::uint32_t>(data.size()), 4) + data +
           (data.size() % 2 != 0 ? "\0"s : "");
}

std::string dataset(unsigned record, unsigned set, const std::string& data) {
    return "\x1c"s + static_cast<char>(record) + static_cast<char>(set) +
           big(static_cast<std::uint32_t>(data.size()), 2) + data;
}

TEST(Photoshop, CaptionsStayAndThumbnailsGo) {
    const std::string caption = dataset(2, 120, "a lake");
    const std::string resources = resource(1036, kSecret) +
                                  resource(1028, caption + dataset(2, 202, kSecret)) +
                                  resource(1033, kSecret) + resource(9999, kSecret) + resource(1034, "\1");
    LeftOut left_out;
    const Bytes clean = cleanPhotoshop(bytesOf(resources), left_out);
    EXPECT_EQ(textOf(clean), resource(1028, caption) + resource(1034, "\1"));
    for (std::size_t size = 0; size < resources.size(); ++size)
        EXPECT_FALSE(contains(cleanPhotoshop(bytesOf(resources.substr(0, size)), left_out), kSecret));
}

std::string segment(unsigned marker, const std::string& data) {
    return "\xff"s + static_cast<char>(marker) + big(static_cast<std::uint32_t>(data.size() + 2), 2) + data;
}

/// A JPEG that shows the secret in every way known.
Bytes revealingJpeg() {
    const Bytes plain = encodeJpeg(flat(3));
    const std::string thumbnail =
        "<xap:Thumbnails><xapGImg:image>" + kSecret + "</xapGImg:image></xap:Thumbnails>";
    std::string file = textOf({plain.begin(), plain.begin() + 2});
    file += segment(0xe0, "JFIF\0\1\2\0\0\1\0\1\2\2"s + "123456789012" + kSecret);
    file += segment(0xe0, "JFXX\0\x10"s + kSecret);
    file += segment(0xe1, "Exif\0\0"s + exifWithThumbnail());
    file += segment(0xe1, "http://ns.adobe.com/xap/1.0/\0"s + xmpPacket("", thumbnail));
    file += segment(0xe1, "http://ns.adobe.com/xmp/extension/\0"s + kSecret);
    file += segment(0xe2, "MPF\0"s + kSecret);
    file += segment(0xe2, "FPXR\0"s + kSecret);
    file += segment(0xe3, "_JPSJPS_"s + kSecret);
    file += segment(0xeb, "HDR_RI ver=11"s + kSecret);
    file += segment(0xeb, "JP"s + kSecret);
    file += segment(0xed,
                    "Photoshop 3.0\0"s + resource(1036, kSecret) + resource(1028, dataset(2, 120, "a lake")));
    file += segment(0xef, kSecret);
    file += segment(0xfe, "by hand");
    file += segment(0xfe, "\xff\xd8\xff\xe0" + kSecret);
    const std::size_t jfif = 2 + 18;  // the marker that is in the plain file already
    file += textOf({plain.begin() + jfif, plain.end()});
    return bytesOf(file + "\xff\xd8\xff" + kSecret);
}

#ifdef PCONV_WITH_TIFF

/// A TIFF of 40x30 pixels of gray that shows the secret in every way known.
Bytes revealingTiff() {
    const std::string thumbnail =
        "<xap:Thumbnails><xapGImg:image>" + kSecret + "</xapGImg:image></xap:Thumbnails>";
    const std::string xmp = xmpPacket("", thumbnail);
    const std::string photoshop = resource(1036, kSecret);
    const std::string iptc = dataset(2, 202, kSecret);
    const std::string pixels(std::size_t{40} * 30, 'd');
    std::string file = "II" + little(42, 2) + little(0, 4);
    const auto store = [&file](const std::string& data) {
        if (file.size() % 2 != 0) file += '\0';
        file += data;
        return static_cast<std::uint32_t>(file.size() - data.size());
    };
    const auto sized = [&store](unsigned tag, unsigned type, const std::string& data) {
        return entry(tag, type, static_cast<std::uint32_t>(data.size()), store(data));
    };
    const std::uint32_t strip = store(pixels);
    const auto picture = [](std::uint32_t at, std::uint32_t width, std::uint32_t height) {
        return entry(0x0100, 4, 1, width) + entry(0x0101, 4, 1, height) + entry(0x0102, 3, 1, 8) +
               entry(0x0103, 3, 1, 1) + entry(0x0106, 3, 1, 1) + entry(0x0111, 4, 1, at) +
               entry(0x0117, 4, 1, width * height);
    };
    const auto secret_size = static_cast<std::uint32_t>(kSecret.size());
    const std::string small = little(7, 2) + picture(store(kSecret), secret_size, 1) + little(0, 4);
    const std::uint32_t small_at = store(small);
    const std::uint32_t page_at = store(small);
    const std::uint32_t note_at = store(kSecret);
    const std::uint32_t exposure_at = store(little(2, 2) + entry(0x8827, 3, 1, 400) +
                                            entry(0x927c, 7, secret_size, note_at) + little(0, 4));
    std::string tags = picture(strip, 40, 30) + entry(0x0112, 3, 1, 6) + sized(0x013b, 2, "Lotte R\0"s) +
                       entry(0x014a, 4, 1, small_at) + sized(0x02bc, 1, xmp) + sized(0x83bb, 7, iptc) +
                       sized(0x8649, 7, photoshop) + entry(0x8769, 4, 1, exposure_at) +
                       sized(0xc6f3, 1, kSecret);
    // In the order of their numbers, as a reader may expect.
    std::vector<std::string> entries;
    for (std::size_t at = 0; at < tags.size(); at += 12) entries.push_back(tags.substr(at, 12));
    std::sort(entries.begin(), entries.end(), [](const std::string& a, const std::string& b) {
        return std::make_pair(a[1] & 255, a[0] & 255) < std::make_pair(b[1] & 255, b[0] & 255);
    });
    std::string directory = little(static_cast<std::uint32_t>(entries.size()), 2);
    for (const std::string& one : entries) directory += one;
    const std::string at = little(store(directory + little(page_at, 4)), 4);
    std::copy(at.begin(), at.end(), file.begin() + 4);
    return bytesOf(file + kSecret);
}

#endif
#ifdef PCONV_WITH_WEBP

Bytes revealingWebp() {
    Image image = flat(3);
    image.chunks = {makeChunk("eXIf", bytesOf(exifWithThumbnail())),
                    makeXmpChunk(xmpPacket("", "<xap:Thumbnails>" + kSecret + "</xap:Thumbnails>"))};
    const std::string unknown = "PRVT" + little(static_cast<std::uint32_t>(kSecret.size()), 4) + kSecret;
    std::string file = textOf(encodeWebp(image)) + unknown;
    const std::string size = little(static_cast<std::uint32_t>(file.size() - 8), 4);
    std::copy(size.begin(), size.end(), file.begin() + 4);
    return bytesOf(file + kSecret);
}

#endif

void expectNothingToldOf(const Bytes& file, const char* route) {
    EXPECT_FALSE(contains(file, kSecret)) << route;
    EXPECT_FALSE(contains(file, "\xff\xd8\xff\xe0" + kSecret)) << route;
    EXPECT_TRUE(contains(file, "Lotte R\0"s)) << route;
    EXPECT_TRUE(contains(file, "<dc:creator>Lotte R</dc:creator>")) << route;
    const Image back = decodeImage(file, kEnough);
    EXPECT_EQ(exifOrientation(findChunk(back.chunks, "eXIf")->data), 6U) << route;
    EXPECT_TRUE(back.notes.empty()) << route << ": " << back.notes[0];
}

/// Writes a picture, all of which is hole, in every format.
void expectNothingTold(const Image& image, const std::string& from, Notes& notes) {
    const Bytes hole(image.pixelCount(), 1);
    const auto expect = [&](ImageFormat format, const char* name) {
        expectNothingToldOf(encodeImage(image, hole, format, notes), (from + " to " + name).c_str());
    };
    expect(ImageFormat::jpeg, "JPEG");
    expect(ImageFormat::png, "PNG");
#ifdef PCONV_WITH_TIFF
    expect(ImageFormat::tiff, "TIFF");
#endif
#ifdef PCONV_WITH_WEBP
    expect(ImageFormat::webp, "WebP");
#endif
}

TEST(Metadata, NothingOfTheOldPictureIsInAnyOutput) {
    const Image jpeg = decodeImage(revealingJpeg(), kEnough);
    ASSERT_EQ(jpeg.notes.size(), 1U);
    Notes notes;
    expectNothingTold(jpeg, "JPEG", notes);
    const Bytes patched = encodeImage(jpeg, Bytes(jpeg.pixelCount(), 1), ImageFormat::jpeg, notes);
    EXPECT_TRUE(contains(patched, dataset(2, 120, "a lake")));
    EXPECT_TRUE(contains(patched, "by hand"));

    Image png = flat(3);
    const std::string thumbnail = "<xap:Thumbnails>" + kSecret + "</xap:Thumbnails>";
    png.chunks = {makeChunk("eXIf", bytesOf(exifWithThumbnail())),
                  makeXmpChunk(xmpPacket("", thumbnail)),
                  makeChunk("tEXt", bytesOf("Title\0a lake"s)),
                  makeChunk("tEXt", bytesOf("Preview\0data:image/png;base64,"s + kSecret)),
                  makeChunk("prVt", bytesOf("\x89PNG\r\n" + kSecret)),
                  makeChunk("prVt", bytesOf(kSecret + std::string(100, ' ')))};
    Bytes file = encodePng(png);
    const Bytes trailer = bytesOf(kSecret);
    file.insert(file.end(), trailer.begin(), trailer.end());
    const Image read = decodeImage(file, kEnough);
    ASSERT_EQ(read.notes.size(), 1U);
    EXPECT_NE(read.notes[0].find("bytes after the picture"), std::string::npos);
    expectNothingTold(read, "PNG", notes);
    EXPECT_TRUE(contains(encodePng(read), "Title\0a lake"s));
    EXPECT_TRUE(notes.empty());
}

#ifdef PCONV_WITH_TIFF

TEST(Metadata, NothingOfTheOldPictureIsLeftOfATiff) {
    const Bytes file = revealingTiff();
    ASSERT_TRUE(contains(file, kSecret));
    const Image tiff = decodeImage(file, kEnough);
    EXPECT_EQ(tiff.format, ImageFormat::tiff);
    EXPECT_EQ(tiff.samples, Bytes(std::size_t{40} * 30, 'd'));
    ASSERT_EQ(tiff.notes.size(), 1U);
    for (const char* part : {"the maker's notes", "XMP thumbnails", "Photoshop's", "all pages but one"})
        EXPECT_NE(tiff.notes[0].find(part), std::string::npos) << tiff.notes[0];
    Notes notes;
    expectNothingTold(tiff, "TIFF", notes);
    EXPECT_TRUE(notes.empty());
}

TEST(Metadata, ExposureAndPlaceAreInATiffAsEverywhere) {
    for (const bool turned : {false, true}) {
        Image image = flat(3);
        std::string exif = exifWithThumbnail();
        if (turned) {
            exif = "MM" + big(42, 2) + big(8, 4) + big(4, 2);
            const auto one = [](unsigned tag, unsigned type, std::uint32_t count, const std::string& value) {
                return big(tag, 2) + big(type, 2) + big(count, 4) + value;
            };
            exif += one(0x0112, 3, 1, big(6, 2) + big(0, 2)) + one(0x4746, 3, 1, big(5, 2) + big(0, 2)) +
                    one(0x8769, 4, 1, big(62, 4)) + one(0x8825, 4, 1, big(80, 4)) + big(0, 4);
            exif += big(1, 2) + one(0x8827, 3, 1, big(400, 2) + big(0, 2)) + big(0, 4);
            exif += big(1, 2) + one(0x0001, 2, 2, "N\0\0\0"s) + big(0, 4);
        }
        LeftOut left_out;
        const Bytes clean = cleanExif(bytesOf(exif), 40, 30, left_out);
        EXPECT_EQ(isBigEndian(clean), turned);
        image.chunks = {makeChunk("eXIf", Bytes(clean))};
        Notes notes;
        const Bytes file = encodeImage(image, {}, ImageFormat::tiff, notes);
        EXPECT_TRUE(notes.empty());
        const Image back = decodeImage(file, kEnough);
        EXPECT_EQ(back.samples, image.samples);
        EXPECT_TRUE(back.notes.empty());
        ASSERT_NE(findChunk(back.chunks, "eXIf"), nullptr);
        EXPECT_EQ(findChunk(back.chunks, "eXIf")->data, clean) << turned;

        // libtiff finds it too.
        const auto path = std::filesystem::path(::testing::TempDir()) / "pconv_exposure.tif";
        std::ofstream(path, std::ios::binary) << textOf(file);
        TIFF* tiff = TIFFOpen(path.string().c_str(), "r");
        ASSERT_NE(tiff, nullptr);
        std::uint64_t exposure_at = 0;
        std::uint64_t gps_at = 0;
        std::uint16_t orientation = 0;
        EXPECT_EQ(TIFFGetField(tiff, TIFFTAG_ORIENTATION, &orientation), 1);
        EXPECT_EQ(orientation, 6);
        ASSERT_EQ(TIFFGetField(tiff, TIFFTAG_EXIFIFD, &exposure_at), 1);
        ASSERT_EQ(TIFFGetField(tiff, TIFFTAG_GPSIFD, &gps_at), 1);
        ASSERT_EQ(TIFFReadEXIFDirectory(tiff, exposure_at), 1);
        std::uint16_t count = 0;
        const std::uint16_t* speed = nullptr;
        ASSERT_EQ(TIFFGetField(tiff, EXIFTAG_ISOSPEEDRATINGS, &count, &speed), 1);
        EXPECT_EQ(speed[0], 400);
        ASSERT_EQ(TIFFReadGPSDirectory(tiff, gps_at), 1);
        const char* north = nullptr;
        ASSERT_EQ(TIFFGetField(tiff, GPSTAG_LATITUDEREF, &north), 1);
        EXPECT_STREQ(north, "N");
        TIFFClose(tiff);
        std::filesystem::remove(path);
    }
}

#else

TEST(Metadata, NothingOfTheOldPictureIsLeftOfATiff) {
    GTEST_SKIP() << "built without TIFF (libtiff)";
}

#endif
#ifdef PCONV_WITH_WEBP

TEST(Metadata, NothingOfTheOldPictureIsLeftOfAWebp) {
    const Bytes file = revealingWebp();
    ASSERT_TRUE(contains(file, "PRVT"));
    const Image webp = decodeImage(file, kEnough);
    EXPECT_EQ(webp.format, ImageFormat::webp);
    ASSERT_EQ(webp.notes.size(), 1U);
    for (const char* part : {"the Exif thumbnail", "XMP thumbnails", "bytes after the picture"})
        EXPECT_NE(webp.notes[0].find(part), std::string::npos) << webp.notes[0];
    Notes notes;
    expectNothingTold(webp, "WebP", notes);
    EXPECT_TRUE(notes.empty());
}

#else

TEST(Metadata, NothingOfTheOldPictureIsLeftOfAWebp) {
    GTEST_SKIP() << "built without WebP (libwebp)";
}

#endif

TEST(Metadata, ExifInATextBecomesExifAndNoOtherProfileInATextStays) {
    const Bytes exif = makeExif(8, {{0x013b, "Lotte R"}});
    std::string digits = "\nexif\n      " + std::to_string(exif.size()) + "\n";
    constexpr char kDigits[] = "0123456789abcdef";
    for (std::size_t i = 0; i < exif.size(); ++i) {
        digits += std::string{kDigits[exif[i] >> 4], kDigits[exif[i] & 15]};
        if (i % 36 == 35) digits += '\n';
    }
    uLongf size = compressBound(static_cast<uLong>(digits.size()));
    Bytes packed(size);
    ASSERT_EQ(compress(packed.data(), &size, reinterpret_cast<const Bytef*>(digits.data()),
                       static_cast<uLong>(digits.size())),
              Z_OK);
    const std::string text = "Raw profile type exif\0\0"s +
                             std::string(packed.begin(), packed.begin() + static_cast<std::ptrdiff_t>(size));
    LeftOut left_out;
    const std::vector<PngChunk> clean =
        cleanChunks({makeChunk("zTXt", bytesOf(text)),
                     makeChunk("tEXt", bytesOf("Raw profile type 8bim\0\n8bim\n 4\n00"s))},
                    40, 30, left_out);
    ASSERT_EQ(clean.size(), 1U);
    EXPECT_EQ(clean[0].data, exif);
}

TEST(JpegExtent, EndsWherePicturesEndWhateverFollows) {
    const Bytes file = encodeJpeg(flat(3));
    const std::size_t size = file.size() - 2;
    const auto extentOf = [&](std::size_t taken, const std::string& trailer) {
        Bytes bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(taken));
        bytes.insert(bytes.end(), trailer.begin(), trailer.end());
        return findJpegExtent(bytes);
    };
    EXPECT_TRUE(extentOf(file.size(), "").has_end);
    EXPECT_EQ(extentOf(file.size(), "ftyp").size, size);
    EXPECT_EQ(extentOf(file.size(), "ftyp").trailer, file.size());
    EXPECT_FALSE(extentOf(size, "").has_end);
    EXPECT_EQ(extentOf(size, "").size, size);
    // What looks like a marker but leads nowhere is not of the picture.
    EXPECT_EQ(extentOf(size, "\xff\xe1\x7f\xff"s + "film").size, size);
    EXPECT_EQ(extentOf(size, "\xff\xd8"s + "film").size, size);
}

}  // namespace
}  // namespace pconv::app
