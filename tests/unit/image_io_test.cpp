#include "image/io.h"

#include <cstdio>

#include <gtest/gtest.h>
#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <string_view>

#include "files/file_error.h"
#include "image/exif.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"
#include "support/images.h"
#include "support/jpeg_forms.h"
#include "support/png_forms.h"

namespace pconv::app {
namespace {

constexpr std::uint64_t kEnough = 1'000'000;

/// A picture whose every sample is drawn from all its values.
Image noise(std::uint32_t width, std::uint32_t height, unsigned channels, unsigned depth) {
    Image image = test::blankImage(width, height, channels, depth);
    std::mt19937 random(width * 31 + height * 7 + channels * 3 + depth);
    for (std::uint8_t& byte : image.samples) {
        byte = static_cast<std::uint8_t>(depth >= 8 ? random() : random() % (image.maximum() + 1));
    }
    return image;
}

/// A picture that a JPEG can hold well.
Image smooth(std::uint32_t width, std::uint32_t height, unsigned channels) {
    Image image = noise(width, height, channels, 8);
    for (std::size_t i = 0; i < image.samples.size(); ++i) {
        const std::size_t pixel = i / channels;
        const std::size_t row = pixel / width;
        const double x = static_cast<double>(pixel % width);
        const double y = static_cast<double>(row);
        const double phase = static_cast<double>(i % channels);
        image.samples[i] =
            static_cast<std::uint8_t>(128 + 60 * std::sin(x / 9 + phase) + 50 * std::cos(y / 13 - phase));
    }
    return image;
}

void append(png_structp png, png_bytep data, std::size_t size) {
    auto* bytes = static_cast<Bytes*>(png_get_io_ptr(png));
    bytes->insert(bytes->end(), data, data + size);
}

/// A file written by libpng alone; `samples` holds one byte a sample, or two in PNG's order.
struct PngRecipe {
    int colour_type = PNG_COLOR_TYPE_RGB;
    int depth = 8;
    int interlace = PNG_INTERLACE_NONE;
    bool transparency = false;
};

Bytes makePng(std::uint32_t width, std::uint32_t height, std::size_t row_bytes, Bytes samples,
              const PngRecipe& recipe) {
    Bytes bytes;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &bytes, append, nullptr);
    png_set_IHDR(png, info, width, height, recipe.depth, recipe.colour_type, recipe.interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (recipe.colour_type == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[4] = {{10, 20, 30}, {40, 50, 60}, {70, 80, 90}, {250, 251, 252}};
        png_set_PLTE(png, info, palette, 4);
        png_byte alpha[2] = {0, 128};
        if (recipe.transparency) png_set_tRNS(png, info, alpha, 2, nullptr);
    } else if (recipe.transparency) {
        png_color_16 colour{};
        colour.red = colour.gray = 1;
        colour.green = 2;
        colour.blue = 3;
        png_set_tRNS(png, info, nullptr, 0, &colour);
    }
    png_write_info(png, info);
    if (recipe.depth < 8) png_set_packing(png);
    std::vector<png_bytep> rows;
    for (std::size_t y = 0; y < height; ++y) rows.push_back(samples.data() + y * row_bytes);
    png_write_image(png, rows.data());
    png_write_end(png, nullptr);
    png_destroy_write_struct(&png, &info);
    return bytes;
}

std::string faultOf(const Bytes& bytes, std::uint64_t most_pixels = kEnough) {
    try {
        if (!bytes.empty() && bytes[0] == 0xff) {
            decodeJpeg(bytes, most_pixels);
        } else {
            decodePng(bytes, most_pixels);
        }
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

void putBig32(Bytes& bytes, std::size_t at, std::uint32_t value) {
    for (std::size_t i = 0; i < 4; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
}

/// Changes the announced size in a PNG's header and makes its checksum right again.
Bytes withSize(Bytes png, std::uint32_t width, std::uint32_t height) {
    putBig32(png, 16, width);
    putBig32(png, 20, height);
    putBig32(png, 29, static_cast<std::uint32_t>(crc32(0, &png[12], 17)));
    return png;
}

class PngForms : public ::testing::TestWithParam<pconv::test::PngForm> {};

TEST_P(PngForms, ComesBackBitForBit) {
    for (const std::uint32_t size : {1U, 7U, 8U, 33U, 67U}) {
        const Image image = noise(size, size + 1, GetParam().channels, GetParam().depth);
        const Image back = decodePng(encodePng(image), kEnough);
        EXPECT_EQ(back.width, image.width);
        EXPECT_EQ(back.height, image.height);
        EXPECT_EQ(back.channels, image.channels);
        EXPECT_EQ(back.depth, image.depth);
        EXPECT_EQ(back.samples, image.samples) << size;
        EXPECT_FALSE(back.has_transparent_colour);
    }
}

INSTANTIATE_TEST_SUITE_P(All, PngForms, pconv::test::allPngForms(), pconv::test::nameOfPngForm);

TEST(Png, ReadsInterlacedPicturesAsThePlainOnes) {
    for (const std::uint32_t size : {1U, 2U, 5U, 9U, 30U}) {
        const Image image = noise(size, size, 3, 8);
        PngRecipe recipe;
        recipe.interlace = PNG_INTERLACE_ADAM7;
        EXPECT_EQ(decodePng(makePng(size, size, size * 3, image.samples, recipe), kEnough).samples,
                  image.samples);
        const Image bits = noise(size, size, 1, 1);
        recipe.colour_type = PNG_COLOR_TYPE_GRAY;
        recipe.depth = 1;
        EXPECT_EQ(decodePng(makePng(size, size, size, bits.samples, recipe), kEnough).samples, bits.samples);
    }
}

TEST(Png, SixteenBitSamplesAreInHostOrder) {
    PngRecipe recipe;
    recipe.colour_type = PNG_COLOR_TYPE_GRAY;
    recipe.depth = 16;
    const Image image = decodePng(makePng(1, 1, 2, {0x12, 0x34}, recipe), kEnough);
    std::uint16_t value = 0;
    ASSERT_EQ(image.samples.size(), sizeof value);
    std::memcpy(&value, image.samples.data(), sizeof value);
    EXPECT_EQ(value, 0x1234);
}

TEST(Png, APaletteBecomesItsColours) {
    PngRecipe recipe;
    recipe.colour_type = PNG_COLOR_TYPE_PALETTE;
    recipe.depth = 2;
    Image image = decodePng(makePng(4, 1, 4, {0, 1, 2, 3}, recipe), kEnough);
    EXPECT_EQ(image.channels, 3U);
    EXPECT_EQ(image.depth, 8U);
    EXPECT_EQ(image.samples, (Bytes{10, 20, 30, 40, 50, 60, 70, 80, 90, 250, 251, 252}));
    recipe.transparency = true;
    image = decodePng(makePng(4, 1, 4, {0, 1, 2, 3}, recipe), kEnough);
    EXPECT_EQ(image.channels, 4U);
    EXPECT_EQ(image.samples, (Bytes{10, 20, 30, 0, 40, 50, 60, 128, 70, 80, 90, 255, 250, 251, 252, 255}));
}

TEST(Png, KeepsTheTransparentColour) {
    PngRecipe recipe;
    recipe.transparency = true;
    const Image image = decodePng(makePng(2, 1, 6, {1, 2, 3, 4, 5, 6}, recipe), kEnough);
    EXPECT_EQ(image.channels, 3U);
    ASSERT_TRUE(image.has_transparent_colour);
    EXPECT_EQ(image.transparent_colour, (std::array<std::uint16_t, 3>{1, 2, 3}));
    const Image back = decodePng(encodePng(image), kEnough);
    EXPECT_TRUE(back.has_transparent_colour);
    EXPECT_EQ(back.transparent_colour, image.transparent_colour);
    recipe.colour_type = PNG_COLOR_TYPE_GRAY;
    const Image gray = decodePng(encodePng(decodePng(makePng(2, 1, 2, {1, 2}, recipe), kEnough)), kEnough);
    ASSERT_TRUE(gray.has_transparent_colour);
    EXPECT_EQ(gray.transparent_colour[0], 1);
}

TEST(Png, KeepsWhatDescribesThePicture) {
    Image image = noise(5, 5, 3, 8);
    const Bytes profile = [] {
        Bytes bytes(400, 7);
        putBig32(bytes, 0, 400);
        return bytes;
    }();
    image.chunks.push_back(makeChunk("gAMA", {0, 0, 0xb1, 0x8f}));
    image.chunks.push_back(makeProfileChunk(profile));
    image.chunks.push_back(makeDensityChunk({11811, 5906, true}));
    image.chunks.push_back(makeChunk("eXIf", makeExif(6, {})));
    image.chunks.push_back(makeChunk("prVt", {1, 2, 3}));  // of no known kind, but safe to copy
    image.chunks.push_back(makeChunk("prVT", {4, 5, 6}));  // not safe to copy
    image.chunks.push_back(makeChunk("tIME", {7, 232, 1, 1, 0, 0, 0}));
    PngChunk text = makeChunk("tEXt", {'A', 0, 'b'});
    text.after_pixels = true;
    image.chunks.push_back(text);
    const Image once = decodePng(encodePng(image), kEnough);
    const Image back = decodePng(encodePng(once), kEnough);
    EXPECT_EQ(back.samples, image.samples);
    for (const char* type : {"gAMA", "iCCP", "pHYs", "eXIf", "prVt", "tEXt"}) {
        const PngChunk* chunk = findChunk(back.chunks, type);
        ASSERT_NE(chunk, nullptr) << type;
        EXPECT_EQ(chunk->data, findChunk(image.chunks, type)->data) << type;
        EXPECT_EQ(chunk->after_pixels, std::string(type) == "tEXt") << type;
    }
    EXPECT_EQ(back.chunks.size(), 6U);
    EXPECT_EQ(profileOf(*findChunk(back.chunks, "iCCP")), profile);
    EXPECT_EQ(densityOf(*findChunk(back.chunks, "pHYs")).y, 5906U);
}

TEST(Png, DamagedProfilesAreEmptyAndBounded) {
    EXPECT_TRUE(profileOf(makeChunk("iCCP", {})).empty());
    EXPECT_TRUE(profileOf(makeChunk("iCCP", {'x', 0})).empty());
    EXPECT_TRUE(profileOf(makeChunk("iCCP", {'x', 0, 0, 1, 2, 3})).empty());
    Bytes lies(400, 7);
    putBig32(lies, 0, 0x7fffffff);
    EXPECT_TRUE(profileOf(makeProfileChunk(lies)).empty());
    putBig32(lies, 0, 401);
    EXPECT_TRUE(profileOf(makeProfileChunk(lies)).empty());
}

TEST(Png, RefusesSizesBeforeItAllocates) {
    const Bytes png = encodePng(noise(8, 8, 3, 8));
    EXPECT_NE(faultOf(withSize(png, 0, 8)).find("0x8 pixels"), std::string::npos);
    EXPECT_NE(faultOf(withSize(png, 8, 0)).find("8x0 pixels"), std::string::npos);
    EXPECT_NE(faultOf(withSize(png, 0x80000000U, 1)).find("2147483648x1"), std::string::npos);
    EXPECT_NE(faultOf(withSize(png, 0xffffffffU, 0xffffffffU)).find("at most"), std::string::npos);
    EXPECT_NE(faultOf(withSize(png, 1000, 1001)).find("at most 1000000"), std::string::npos);
    EXPECT_NE(faultOf(withSize(png, 0x7fffffff, 0x7fffffff), ~std::uint64_t{0}).find("cannot hold them"),
              std::string::npos);
    EXPECT_EQ(faultOf(png, 64), "");
    EXPECT_NE(faultOf(png, 63), "");
}

TEST(Png, EveryTruncationIsAnError) {
    const Bytes png = encodePng(noise(9, 9, 4, 16));
    for (std::size_t size = 8; size < png.size(); ++size) {
        EXPECT_NE(faultOf({png.begin(), png.begin() + static_cast<std::ptrdiff_t>(size)}), "") << size;
    }
}

TEST(Png, DamageIsFoundOrHarmless) {
    const Image image = noise(16, 16, 3, 8);
    const Bytes png = encodePng(image);
    std::mt19937 random(1);
    int found = 0;
    for (int i = 0; i < 4000; ++i) {
        Bytes damaged = png;
        damaged[8 + random() % (png.size() - 8)] ^= static_cast<std::uint8_t>(1U << random() % 8);
        if (!faultOf(damaged).empty())
            ++found;
        else
            EXPECT_EQ(decodePng(damaged, kEnough).samples, image.samples) << i;
    }
    // Every byte of every chunk is under a checksum; that of the last one, which is empty, libpng 1.6.48 does
    // not look at.
    EXPECT_GE(found, 3970);
}

/// Makes the checksum of every chunk right, as far as their lengths lead.
void repairChecksums(Bytes& png) {
    for (std::size_t at = 8; at + 12 <= png.size();) {
        const std::size_t length = std::size_t{png[at]} << 24 | std::size_t{png[at + 1]} << 16 |
                                   std::size_t{png[at + 2]} << 8 | png[at + 3];
        if (length > png.size() - at - 12) return;
        putBig32(png, at + 8 + length,
                 static_cast<std::uint32_t>(crc32(0, &png[at + 4], static_cast<uInt>(length + 4))));
        at += length + 12;
    }
}

TEST(Png, DamageUnderRightChecksumsNeverEscapes) {
    PngRecipe palette;
    palette.colour_type = PNG_COLOR_TYPE_PALETTE;
    palette.depth = 2;
    palette.interlace = PNG_INTERLACE_ADAM7;
    palette.transparency = true;
    Image plain = noise(9, 9, 3, 16);
    plain.has_transparent_colour = true;
    plain.chunks = {makeProfileChunk({0, 0, 0, 6, 1, 2}), makeDensityChunk({1, 2, true})};
    const Bytes sources[] = {makePng(9, 9, 9, Bytes(81, 3), palette), encodePng(plain)};
    std::mt19937 random(2);
    int found = 0;
    for (int i = 0; i < 6000; ++i) {
        Bytes damaged = sources[i % 2];
        for (int k = 0; k < 1 + i % 3; ++k) {
            damaged[8 + random() % (damaged.size() - 8)] = static_cast<std::uint8_t>(random());
        }
        repairChecksums(damaged);
        try {
            const Image image = decodePng(damaged, kEnough);
            EXPECT_EQ(image.samples.size(), image.rowBytes() * image.height);
            EXPECT_FALSE(encodePng(image).empty());
            for (const PngChunk& chunk : image.chunks) profileOf(chunk);
        } catch (const FileError& error) {
            EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
            ++found;
        }
    }
    EXPECT_GT(found, 600);
}

TEST(Png, WhatFollowsTheEndIsIgnored) {
    Bytes png = encodePng(noise(4, 4, 1, 8));
    png.insert(png.end(), 1000, 0x55);
    EXPECT_EQ(faultOf(png), "");
}

Bytes hole(const Image& image, std::uint32_t left, std::uint32_t top, std::uint32_t right,
           std::uint32_t bottom) {
    Bytes mask(image.pixelCount());
    for (std::size_t y = top; y < bottom; ++y) {
        for (std::size_t x = left; x < right; ++x) mask[y * image.width + x] = 1;
    }
    return mask;
}

double meanDifference(const Bytes& a, const Bytes& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += std::abs(int{a[i]} - int{b[i]});
    return sum / static_cast<double>(a.size());
}

TEST(Jpeg, WhatIsTooLongForAMarkerIsNamed) {
    Image image = smooth(16, 16, 3);
    Bytes exif = makeExif(6, {});
    exif.resize(65'527, 0);  // with its signature, as much as a marker holds
    image.chunks.push_back(makeChunk("eXIf", exif));
    Notes notes;
    EXPECT_NE(findChunk(decodeJpeg(encodeJpeg(image, &notes), kEnough).chunks, "eXIf"), nullptr);
    EXPECT_EQ(notes, Notes());
    image.chunks.back().data.push_back(0);
    image.chunks.push_back(makeXmpChunk(std::string(65'520, ' ')));
    EXPECT_EQ(findChunk(decodeJpeg(encodeJpeg(image, &notes), kEnough).chunks, "eXIf"), nullptr);
    ASSERT_EQ(notes.size(), 2U);
    EXPECT_EQ(notes[0].find("the Exif data is left out"), 0U) << notes[0];
    EXPECT_EQ(notes[1].find("the XMP packet is left out"), 0U) << notes[1];
}

TEST(Jpeg, ComesBackCloseAndWithItsDescription) {
    for (const unsigned channels : {1U, 3U}) {
        Image image = smooth(45, 37, channels);
        Bytes profile(70'000, 3);  // more than one marker can hold
        putBig32(profile, 0, 70'000);
        image.chunks.push_back(makeProfileChunk(profile));
        image.chunks.push_back(makeDensityChunk({11811, 11811, true}));
        image.chunks.push_back(makeChunk("eXIf", makeExif(6, {})));
        const Image back = decodeJpeg(encodeJpeg(image), kEnough);
        EXPECT_EQ(back.width, 45U);
        EXPECT_EQ(back.height, 37U);
        EXPECT_EQ(back.channels, channels);
        EXPECT_LT(meanDifference(back.samples, image.samples), 2.0);
        EXPECT_EQ(profileOf(*findChunk(back.chunks, "iCCP")), profile);
        EXPECT_EQ(densityOf(*findChunk(back.chunks, "pHYs")).x, 11811U);
        EXPECT_EQ(findChunk(back.chunks, "eXIf")->data, makeExif(6, {}));
        const Image through_png = decodePng(encodePng(back), kEnough);
        EXPECT_EQ(through_png.samples, back.samples);
        EXPECT_EQ(profileOf(*findChunk(through_png.chunks, "iCCP")), profile);
    }
}

TEST(Jpeg, ResolutionsThatItCannotHoldAreLeftOut) {
    for (const PixelDensity density : {PixelDensity{0, 0, true}, PixelDensity{4'000'000'000U, 1, true}}) {
        Image image = smooth(8, 8, 1);
        image.chunks.push_back(makeDensityChunk(density));
        EXPECT_EQ(findChunk(decodeJpeg(encodeJpeg(image), kEnough).chunks, "pHYs"), nullptr);
    }
}

TEST(Jpeg, SixteenBitsAndAlphaAreReduced) {
    Image image = noise(8, 8, 4, 16);
    std::fill(image.samples.begin(), image.samples.end(), 0x80);
    const Image back = decodeJpeg(encodeJpeg(image), kEnough);
    EXPECT_EQ(back.channels, 3U);
    EXPECT_LT(meanDifference(back.samples, Bytes(8 * 8 * 3, 0x80)), 1.0);
}

TEST(Jpeg, BlocksOutsideTheHoleAreCopiedWithoutLoss) {
    for (const unsigned channels : {1U, 3U}) {
        const Image image = decodeJpeg(encodeJpeg(smooth(61, 50, channels)), kEnough);
        Image filled = image;
        const Bytes mask = hole(image, 20, 18, 30, 24);
        for (std::size_t i = 0; i < filled.samples.size(); ++i) {
            if (mask[i / channels] != 0) filled.samples[i] = 200;
        }
        const Image back = decodeJpeg(patchJpeg(filled, mask), kEnough);
        ASSERT_EQ(back.samples.size(), image.samples.size());
        for (std::size_t i = 0; i < back.samples.size(); ++i) {
            const std::size_t x = i / channels % image.width;
            const std::size_t y = i / channels / image.width;
            if (x / 8 < 2 || x / 8 > 3 || y / 8 != 2) {
                EXPECT_EQ(back.samples[i], image.samples[i]) << x << ',' << y;
            }
            if (mask[i / channels] != 0) {
                EXPECT_NEAR(back.samples[i], 200, 40) << x << ',' << y;
            }
        }
    }
}

TEST(Jpeg, PatchingNothingKeepsEveryPixelOfAnyKind) {
    struct Kind {
        unsigned channels;
        J_COLOR_SPACE space;
    };
    for (const Kind kind : {Kind{1, JCS_GRAYSCALE}, Kind{3, JCS_YCbCr}, Kind{3, JCS_RGB}}) {
        for (const bool progressive : {false, true}) {
            const Bytes file = test::makeJpeg(smooth(45, 50, kind.channels), kind.space, progressive);
            const Image image = decodeJpeg(file, kEnough);
            const Bytes patched = patchJpeg(image, Bytes(image.pixelCount()));
            EXPECT_EQ(decodeJpeg(patched, kEnough).samples, image.samples);
            const std::string text(patched.begin(), patched.end());
            EXPECT_NE(text.find("a comment"), std::string::npos);
            const bool is_progressive = text.find("\xff\xc2") != std::string::npos;
            EXPECT_EQ(is_progressive, progressive);
            if (kind.space == JCS_RGB) continue;  // such a file has no JFIF marker, hence no resolution
            EXPECT_EQ(densityOf(*findChunk(image.chunks, "pHYs")).x, 10'000U);
        }
    }
}

TEST(Jpeg, SubsampledBlocksFarFromTheHoleAreKept) {
    const Image image = decodeJpeg(test::makeJpeg(smooth(96, 96, 3), JCS_YCbCr, false), kEnough);
    Image filled = image;
    const Bytes mask = hole(image, 40, 40, 44, 44);
    for (std::size_t i = 0; i < filled.samples.size(); ++i) {
        if (mask[i / 3] != 0) filled.samples[i] = 0;
    }
    const Image back = decodeJpeg(patchJpeg(filled, mask), kEnough);
    for (std::size_t i = 0; i < back.samples.size(); ++i) {
        const std::size_t x = i / 3 % 96;
        const std::size_t y = i / 3 / 96;
        // The 16x16 block of its chroma, and two pixels about it that upsampling reaches.
        if (x < 30 || x >= 50 || y < 30 || y >= 50) {
            EXPECT_EQ(back.samples[i], image.samples[i]) << x << ',' << y;
        }
    }
}

/// The same inks without Adobe's marker, in which they are stored as they are.
Bytes withoutAdobeMarker(Bytes jpeg) {
    const std::string_view marker("\xff\xee", 2);
    const auto found = std::search(jpeg.begin(), jpeg.end(), marker.begin(), marker.end(),
                                   [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); });
    jpeg.erase(found, found + 16);
    return jpeg;
}

TEST(Jpeg, InksAreReadInEitherSenseAndWrittenBackAsTheyWere) {
    const Image stored = smooth(45, 50, 4);
    const auto expect_kept = [&](const Bytes& file, bool inverted) {
        const Image image = decodeJpeg(file, kEnough);
        ASSERT_TRUE(image.cmyk);
        ASSERT_EQ(image.channels, 4U);
        Bytes expected = stored.samples;
        if (inverted) {
            for (std::uint8_t& sample : expected) sample = static_cast<std::uint8_t>(255 - sample);
        }
        EXPECT_LT(meanDifference(image.samples, expected), 6.0);
        Image filled = image;
        const Bytes mask = hole(image, 20, 18, 30, 24);
        for (std::size_t i = 0; i < filled.samples.size(); ++i) {
            if (mask[i / 4] != 0) filled.samples[i] = 200;
        }
        Notes notes;
        const Image back = decodeJpeg(encodeImage(filled, mask, ImageFormat::jpeg, notes), kEnough);
        EXPECT_TRUE(notes.empty());
        ASSERT_TRUE(back.cmyk);
        for (std::size_t i = 0; i < back.samples.size(); ++i) {
            const std::size_t x = i / 4 % image.width;
            const std::size_t y = i / 4 / image.width;
            if (x < 14 || x >= 34 || y < 14 || y >= 34) {
                ASSERT_EQ(back.samples[i], image.samples[i]) << x << ',' << y;
            }
            if (mask[i / 4] != 0) {
                EXPECT_NEAR(back.samples[i], 200, 60) << x << ',' << y;
            }
        }
        const Image rgb = decodePng(encodeImage(image, mask, ImageFormat::png, notes), kEnough);
        ASSERT_EQ(notes.size(), 1U);
        ASSERT_EQ(rgb.channels, 3U);
        const double light = (255 - image.samples[0]) * (255 - image.samples[3]) / 255.0;
        EXPECT_NEAR(rgb.samples[0], light, 1);
    };
    for (const J_COLOR_SPACE space : {JCS_CMYK, JCS_YCCK})
        expect_kept(test::makeJpeg(stored, space, false), true);
    expect_kept(withoutAdobeMarker(test::makeJpeg(stored, JCS_CMYK, false)), false);
}

TEST(Jpeg, RefusesSizes) {
    const Bytes jpeg = encodeJpeg(smooth(8, 8, 3));
    EXPECT_NE(faultOf(jpeg, 63).find("8x8 pixels; at most 63"), std::string::npos);
    Image wide = noise(65501, 1, 1, 8);
    EXPECT_THROW(encodeJpeg(wide), FileError);
    EXPECT_THROW(checkCanHold(wide, ImageFormat::jpeg), FileError);
}

TEST(Jpeg, EveryTruncationIsAnError) {
    for (const bool progressive : {false, true}) {
        const Bytes jpeg = test::makeJpeg(smooth(24, 24, 3), JCS_YCbCr, progressive);
        for (std::size_t size = 3; size + 2 < jpeg.size(); ++size) {
            EXPECT_NE(faultOf({jpeg.begin(), jpeg.begin() + static_cast<std::ptrdiff_t>(size)}), "") << size;
        }
    }
}

TEST(Jpeg, DamageNeverEscapes) {
    const Bytes jpeg = test::makeJpeg(smooth(40, 40, 3), JCS_YCbCr, true);
    std::mt19937 random(1);
    int found = 0;
    for (int i = 0; i < 2000; ++i) {
        Bytes damaged = jpeg;
        for (int k = 0; k < 3; ++k)
            damaged[2 + random() % (jpeg.size() - 2)] = static_cast<std::uint8_t>(random());
        try {
            const Image image = decodeJpeg(damaged, kEnough);
            EXPECT_FALSE(patchJpeg(image, Bytes(image.pixelCount(), 1)).empty());
        } catch (const FileError& error) {
            EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos);
            ++found;
        }
    }
    EXPECT_GT(found, 200);
}

TEST(Jpeg, ZerosInItsQuantizationTablesDivideNothing) {
    const Bytes jpeg = test::makeJpeg(smooth(40, 40, 3), JCS_YCbCr, false);
    const std::string_view marker("\xff\xdb", 2);
    const auto found = std::search(jpeg.begin(), jpeg.end(), marker.begin(), marker.end(),
                                   [](std::uint8_t a, char b) { return a == static_cast<std::uint8_t>(b); });
    ASSERT_NE(found, jpeg.end());
    const std::size_t table = static_cast<std::size_t>(found - jpeg.begin()) + 5;
    for (const std::size_t zeros : {std::size_t{1}, std::size_t{64}}) {
        Bytes damaged = jpeg;
        std::fill_n(damaged.begin() + static_cast<std::ptrdiff_t>(table), zeros, std::uint8_t{0});
        Image image = decodeJpeg(damaged, kEnough);
        const Bytes mask = hole(image, 8, 8, 16, 16);
        for (std::size_t i = 0; i < image.samples.size(); ++i) {
            if (mask[i / 3] != 0) image.samples[i] = 90;
        }
        const Image back = decodeJpeg(patchJpeg(image, mask), kEnough);
        EXPECT_EQ(back.width, 40U);
        EXPECT_EQ(back.samples.size(), image.samples.size());
    }
}

TEST(ImageFile, IsKnownByItsContentAndItsFaultsNameIt) {
    const std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / "pconv_image_io";
    std::filesystem::create_directories(folder);
    const auto faultOfFile = [&](const std::string& content) {
        const std::filesystem::path path = folder / "picture.jpg";
        std::ofstream(path, std::ios::binary) << content;
        try {
            readImage(path, kEnough);
        } catch (const FileError& error) {
            return std::string(error.what());
        }
        return std::string();
    };
    const Bytes png = encodePng(noise(3, 3, 3, 8));
    EXPECT_EQ(faultOfFile(std::string(png.begin(), png.end())), "");
    EXPECT_NE(faultOfFile("").find("empty"), std::string::npos);
    EXPECT_NE(faultOfFile("GIF89a").find("not a picture of a known kind"), std::string::npos);
    EXPECT_NE(faultOfFile("\x89PNG\r\n\x1a\n").find("ends early"), std::string::npos);
    EXPECT_NE(faultOfFile("GIF89a").find("picture.jpg'"), std::string::npos);
    EXPECT_THROW(readImage(folder, kEnough), FileError);
    EXPECT_THROW(readImage(folder / "absent.png", kEnough), FileError);
    std::filesystem::remove_all(folder);

    EXPECT_EQ(formatOfName("a/b.PNG"), ImageFormat::png);
    EXPECT_EQ(formatOfName("a.JpEg"), ImageFormat::jpeg);
    EXPECT_EQ(formatOfName("a.jpg"), ImageFormat::jpeg);
    try {
        formatOfName("a.gif");
        ADD_FAILURE() << "a GIF";
    } catch (const FileError& error) {
        // Only what this build writes.
        EXPECT_NE(std::string(error.what())
                      .find("ending in " + formatList(".png", ".jpg, .jpeg", ".tif, .tiff", ".webp")),
                  std::string::npos)
            << error.what();
    }
    EXPECT_EQ(formatList("a", nullptr, nullptr, nullptr), "a");
    EXPECT_EQ(formatList("a", "b", nullptr, nullptr), "a or b");
    EXPECT_THROW(formatOfName("png"), FileError);
    EXPECT_THROW(formatOfName(".png"), FileError);
}

}  // namespace
}  // namespace pconv::app
