// What a picture's file says of it: what shows the picture as it was must not come back, what is true must.
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <string>

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

void expectNothingToldOf(const Bytes& file, const char* route) {
    EXPECT_FALSE(contains(file, kSecret)) << route;
    EXPECT_FALSE(contains(file, "\xff\xd8\xff\xe0" + kSecret)) << route;
    EXPECT_TRUE(contains(file, "Lotte R\0"s)) << route;
    EXPECT_TRUE(contains(file, "<dc:creator>Lotte R</dc:creator>")) << route;
    const Image back = decodeImage(file, kEnough);
    EXPECT_EQ(exifOrientation(findChunk(back.chunks, "eXIf")->data), 6U) << route;
    EXPECT_TRUE(back.notes.empty()) << route << ": " << back.notes[0];
}

TEST(Metadata, NothingOfTheOldPictureIsInAnyOutput) {
    const Image jpeg = decodeImage(revealingJpeg(), kEnough);
    ASSERT_EQ(jpeg.notes.size(), 1U);
    Notes notes;
    const Bytes hole(jpeg.pixelCount(), 1);
    const Bytes patched = encodeImage(jpeg, hole, ImageFormat::jpeg, notes);
    expectNothingToldOf(patched, "JPEG to JPEG");
    EXPECT_TRUE(contains(patched, dataset(2, 120, "a lake")));
    EXPECT_TRUE(contains(patched, "by hand"));
    expectNothingToldOf(encodeImage(jpeg, hole, ImageFormat::png, notes), "JPEG to PNG");

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
    const Bytes written = encodeImage(read, hole, ImageFormat::png, notes);
    expectNothingToldOf(written, "PNG to PNG");
    EXPECT_TRUE(contains(written, "Title\0a lake"s));
    expectNothingToldOf(encodeImage(read, hole, ImageFormat::jpeg, notes), "PNG to JPEG");
    EXPECT_TRUE(notes.empty());
}

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
