// TIFF and WebP: what is read comes back bit for bit, however a file stores it.
#include <gtest/gtest.h>
#ifdef PCONV_WITH_TIFF
#include <tiffio.h>
#endif

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "files/file_error.h"
#include "image/exif.h"
#include "image/io.h"
#include "image/png_chunks.h"
#include "image/png_metadata.h"
#include "support/images.h"

namespace pconv::app {
namespace {

constexpr std::uint64_t kEnough = 1'000'000;

[[maybe_unused]] Image noise(unsigned channels, unsigned depth, bool cmyk = false) {
    Image image = test::blankImage(37, 21, channels, depth, cmyk);
    std::mt19937 random(channels * 100 + depth);
    for (std::uint8_t& byte : image.samples)
        byte = static_cast<std::uint8_t>(depth >= 8 ? random() : random() % (1U << depth));
    if (depth == 32) {
        for (std::size_t i = 0; i < image.pixelCount() * channels; ++i) {
            const float value = static_cast<float>(random() % 1000) / 300.0F - 1.0F;
            std::memcpy(&image.samples[4 * i], &value, sizeof value);
        }
    }
    return image;
}

std::string faultOf(const Bytes& bytes, std::uint64_t most = kEnough) {
    try {
        decodeImage(bytes, most);
    } catch (const FileError& error) {
        return error.what();
    }
    return "";
}

const std::string kXmp = "<x:xmpmeta xmlns:x='adobe:ns:meta/'><a/></x:xmpmeta>";
const Bytes kProfile = {0, 0, 0, 9, 1, 2, 3, 4, 5};

[[maybe_unused]] void describe(Image& image) {
    image.chunks = {makeProfileChunk(kProfile), makeDensityChunk({11811, 5906, true}),
                    makeChunk("eXIf", makeExif(6, {{0x013b, "Lotte R"}})), makeXmpChunk(kXmp)};
}

[[maybe_unused]] void expectDescribed(const Image& image) {
    EXPECT_EQ(profileOf(*findChunk(image.chunks, "iCCP")), kProfile);
    ASSERT_NE(findChunk(image.chunks, "eXIf"), nullptr);
    const Bytes& exif = findChunk(image.chunks, "eXIf")->data;
    EXPECT_EQ(exifOrientation(exif), 6U);
    const std::vector<ExifText> texts = exifTexts(exif);
    EXPECT_TRUE(
        std::any_of(texts.begin(), texts.end(), [](const ExifText& text) { return text.text == "Lotte R"; }));
    EXPECT_EQ(xmpOf(image.chunks), kXmp);
    EXPECT_TRUE(image.notes.empty()) << image.notes[0];
}

#ifdef PCONV_WITH_TIFF

TEST(Tiff, EveryFormComesBackBitForBitWithItsDescription) {
    const Image forms[] = {noise(1, 1),  noise(1, 2),  noise(1, 4),       noise(1, 8),
                           noise(2, 8),  noise(3, 8),  noise(4, 8),       noise(1, 16),
                           noise(2, 16), noise(3, 16), noise(4, 16),      noise(1, 32),
                           noise(3, 32), noise(4, 32), noise(4, 8, true), noise(5, 16, true)};
    for (Image image : forms) {
        describe(image);
        Notes notes;
        const Image back = decodeImage(encodeImage(image, {}, ImageFormat::tiff, notes), kEnough);
        EXPECT_EQ(back.format, ImageFormat::tiff);
        EXPECT_EQ(back.channels, image.channels);
        EXPECT_EQ(back.depth, image.depth);
        EXPECT_EQ(back.cmyk, image.cmyk);
        EXPECT_EQ(back.samples, image.samples) << image.channels << 'x' << image.depth;
        expectDescribed(back);
        EXPECT_EQ(densityOf(*findChunk(back.chunks, "pHYs")).x, 11811U);
        EXPECT_TRUE(notes.empty());
    }
}

/// A TIFF as another program would write it, through a file.
struct Recipe {
    std::uint16_t planes = PLANARCONFIG_CONTIG;
    std::uint16_t compression = COMPRESSION_LZW;
    std::uint16_t photometric = PHOTOMETRIC_RGB;
    std::uint16_t extra = 0;
    bool tiled = false;
    const char* mode = "w";
    int pages = 1;
};

Bytes makeTiff(const Image& image, const Recipe& recipe) {
    const std::filesystem::path path = std::filesystem::path(::testing::TempDir()) / "pconv_formats.tif";
    TIFF* tiff = TIFFOpen(path.string().c_str(), recipe.mode);
    for (int page = 0; page < recipe.pages; ++page) {
        TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, image.width);
        TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, image.height);
        TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, image.depth);
        TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, image.channels);
        TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, recipe.planes);
        TIFFSetField(tiff, TIFFTAG_COMPRESSION, recipe.compression);
        TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, recipe.photometric);
        if (image.depth == 32) TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, SAMPLEFORMAT_IEEEFP);
        if (recipe.extra != 0) TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &recipe.extra);
        if (recipe.photometric == PHOTOMETRIC_PALETTE) {
            std::uint16_t map[3][256] = {};
            for (std::size_t i = 0; i < 256; ++i) {
                for (std::size_t c = 0; c < 3; ++c)
                    map[c][i] = static_cast<std::uint16_t>(257 * ((i * (c + 3)) % 256));
            }
            TIFFSetField(tiff, TIFFTAG_COLORMAP, map[0], map[1], map[2]);
        }
        if (recipe.tiled) {
            TIFFSetField(tiff, TIFFTAG_TILEWIDTH, 16);
            TIFFSetField(tiff, TIFFTAG_TILELENGTH, 16);
        } else {
            TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 5);
        }
        const bool separate = recipe.planes == PLANARCONFIG_SEPARATE;
        const std::size_t bytes = image.sampleBytes();
        const std::size_t pixel = image.channels * bytes;
        for (unsigned plane = 0; plane < (separate ? image.channels : 1U); ++plane) {
            const auto copy = [&](std::uint8_t* to, std::size_t x, std::size_t y, std::size_t count) {
                const std::uint8_t* from = &image.samples[y * image.rowBytes() + x * pixel];
                if (!separate) std::memcpy(to, from, count * pixel);
                for (std::size_t i = 0; separate && i < count; ++i)
                    std::memcpy(to + i * bytes, from + i * pixel + plane * bytes, bytes);
            };
            const std::size_t step = separate ? bytes : pixel;
            if (recipe.tiled) {
                for (std::size_t top = 0; top < image.height; top += 16) {
                    for (std::size_t left = 0; left < image.width; left += 16) {
                        Bytes tile(16 * 16 * step);
                        for (std::size_t y = top; y < std::min<std::size_t>(top + 16, image.height); ++y)
                            copy(&tile[(y - top) * 16 * step], left, y,
                                 std::min<std::size_t>(16, image.width - left));
                        TIFFWriteTile(tiff, tile.data(), static_cast<std::uint32_t>(left),
                                      static_cast<std::uint32_t>(top), 0, static_cast<std::uint16_t>(plane));
                    }
                }
            } else {
                for (std::uint32_t y = 0; y < image.height; ++y) {
                    Bytes row(image.width * step);
                    copy(row.data(), 0, y, image.width);
                    TIFFWriteScanline(tiff, row.data(), y, static_cast<std::uint16_t>(plane));
                }
            }
        }
        TIFFWriteDirectory(tiff);
    }
    TIFFClose(tiff);
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

TEST(Tiff, HoweverItIsStoredItIsTheSamePicture) {
    for (const unsigned depth : {8U, 16U, 32U}) {
        const Image image = noise(3, depth);
        for (const bool tiled : {false, true}) {
            for (const int planes : {PLANARCONFIG_CONTIG, PLANARCONFIG_SEPARATE}) {
                for (const int compression :
                     {COMPRESSION_NONE, COMPRESSION_LZW, COMPRESSION_PACKBITS, COMPRESSION_ADOBE_DEFLATE}) {
                    for (const char* mode : {"w", "wb", "wl", "w8"}) {  // either byte order, and BigTIFF
                        Recipe recipe;
                        recipe.planes = static_cast<std::uint16_t>(planes);
                        recipe.compression = static_cast<std::uint16_t>(compression);
                        recipe.tiled = tiled;
                        recipe.mode = mode;
                        const Image back = decodeImage(makeTiff(image, recipe), kEnough);
                        ASSERT_EQ(back.samples, image.samples)
                            << depth << tiled << planes << compression << mode;
                    }
                }
            }
        }
    }
}

TEST(Tiff, PalettesInvertedGrayAndMultipliedAlphaAreWhatTheyShow) {
    Recipe recipe;
    recipe.photometric = PHOTOMETRIC_PALETTE;
    const Image indices = noise(1, 8);
    const Image colours = decodeImage(makeTiff(indices, recipe), kEnough);
    ASSERT_EQ(colours.channels, 3U);
    for (std::size_t i = 0; i < colours.samples.size(); ++i)
        ASSERT_EQ(colours.samples[i], indices.samples[i / 3] * (i % 3 + 3) % 256);

    // A kind of alpha that it has no samples of is not to be believed.
    recipe.extra = EXTRASAMPLE_ASSOCALPHA;
    EXPECT_EQ(decodeImage(makeTiff(indices, recipe), kEnough).samples, colours.samples);
    recipe.extra = 0;

    recipe.photometric = PHOTOMETRIC_MINISWHITE;
    const Image gray = decodeImage(makeTiff(indices, recipe), kEnough);
    for (std::size_t i = 0; i < gray.samples.size(); ++i)
        ASSERT_EQ(gray.samples[i], 255 - indices.samples[i]);

    recipe.photometric = PHOTOMETRIC_RGB;
    recipe.extra = EXTRASAMPLE_ASSOCALPHA;
    for (const unsigned depth : {8U, 16U}) {
        Image stored = noise(4, depth);
        for (std::size_t i = 0; i < stored.pixelCount() * 4; ++i) {  // no colour is greater than its alpha
            const std::size_t alpha = i / 4 * 4 + 3;
            if (depth == 8) {
                stored.samples[i] = std::min(stored.samples[i], stored.samples[alpha]);
            } else {
                const auto value =
                    std::min(stored.sampleAs<std::uint16_t>(i), stored.sampleAs<std::uint16_t>(alpha));
                std::memcpy(&stored.samples[2 * i], &value, 2);
            }
        }
        const Image read = decodeImage(makeTiff(stored, recipe), kEnough);
        EXPECT_TRUE(read.alpha_is_associated);
        EXPECT_NE(read.samples, stored.samples);
        Notes notes;
        const Image again = decodeImage(encodeImage(read, {}, ImageFormat::tiff, notes), kEnough);
        EXPECT_EQ(again.samples, read.samples);
        EXPECT_TRUE(again.alpha_is_associated);
    }
}

TEST(Tiff, OtherPagesAreNamedAndWhatCannotBeReadIsRefused) {
    Recipe recipe;
    recipe.pages = 2;
    const Image pages = decodeImage(makeTiff(noise(3, 8), recipe), kEnough);
    ASSERT_EQ(pages.notes.size(), 1U);
    EXPECT_NE(pages.notes[0].find("all pages but one"), std::string::npos);
    recipe.pages = 1;
    recipe.photometric = PHOTOMETRIC_CIELAB;
    EXPECT_NE(faultOf(makeTiff(noise(3, 8), recipe)).find("its colours are Lab"), std::string::npos);
    recipe.photometric = PHOTOMETRIC_RGB;
    const Bytes file = makeTiff(noise(3, 8), recipe);
    EXPECT_NE(faultOf(file, 776).find("37x21 pixels; at most 776"), std::string::npos);
    for (std::size_t size = 4; size < file.size(); ++size) {
        const std::string fault = faultOf({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)});
        // Of the directory at its end only what says how the file was made may be missing.
        if (size + 40 < file.size()) {
            EXPECT_NE(fault, "") << size;
        }
        EXPECT_EQ(fault.find('\n'), std::string::npos);
    }
}

TEST(Tiff, FloatingPointGoesIntoNothingElse) {
    for (const ImageFormat format : {ImageFormat::png, ImageFormat::jpeg, ImageFormat::webp}) {
        try {
            checkCanHold(noise(3, 32), format);
            FAIL();
        } catch (const FileError& error) {
            EXPECT_NE(std::string(error.what()).find("expected TIFF"), std::string::npos);
        }
    }
    EXPECT_NO_THROW(checkCanHold(noise(3, 32), ImageFormat::tiff));
}

#else

TEST(Tiff, IsNamedWhereItIsNotBuilt) {
    EXPECT_NE(faultOf({'I', 'I', '*', 0, 8, 0, 0, 0, 0, 0, 0, 0}).find("built without TIFF"),
              std::string::npos);
    EXPECT_THROW(formatNamed("tiff"), FileError);
}

#endif

#ifdef PCONV_WITH_WEBP

TEST(Webp, ComesBackBitForBitWithItsDescription) {
    for (const unsigned channels : {1U, 2U, 3U, 4U}) {
        Image image = noise(channels, 8);
        Notes notes;
        const Image plain = decodeImage(encodeImage(image, {}, ImageFormat::webp, notes), kEnough);
        describe(image);
        const Image back = decodeImage(encodeImage(image, {}, ImageFormat::webp, notes), kEnough);
        EXPECT_TRUE(notes.empty());
        EXPECT_EQ(back.format, ImageFormat::webp);
        EXPECT_EQ(back.channels, image.hasAlpha() ? 4U : 3U);
        EXPECT_EQ(back.samples, plain.samples);
        for (std::size_t i = 0; i < image.pixelCount(); ++i) {
            for (unsigned c = 0; c < back.channels; ++c) {
                const unsigned from = c == 3 ? channels - 1 : channels < 3 ? 0 : c;
                ASSERT_EQ(back.samples[i * back.channels + c], image.samples[i * channels + from]) << i;
            }
        }
        expectDescribed(back);
    }
}

TEST(Webp, DamageIsOneLine) {
    Image image = noise(4, 8);
    describe(image);
    Notes notes;
    const Bytes file = encodeImage(image, {}, ImageFormat::webp, notes);
    EXPECT_NE(faultOf(file, 776).find("37x21 pixels; at most 776"), std::string::npos);
    std::mt19937 random(1);
    for (int i = 0; i < 1000; ++i) {
        Bytes damaged = file;
        for (int k = 0; k < 3; ++k)
            damaged[12 + random() % (file.size() - 12)] = static_cast<std::uint8_t>(random());
        EXPECT_EQ(faultOf(damaged).find('\n'), std::string::npos);
    }
    for (std::size_t size = 12; size < file.size() / 2; ++size)
        EXPECT_NE(faultOf({file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size)}), "") << size;
    EXPECT_THROW(checkCanHold(
                     [] {
                         Image wide;
                         wide.width = 16384;
                         wide.height = 1;
                         wide.channels = 1;
                         return wide;
                     }(),
                     ImageFormat::webp),
                 FileError);
}

#else

TEST(Webp, IsNamedWhereItIsNotBuilt) {
    EXPECT_NE(faultOf({'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'E', 'B', 'P'}).find("built without WebP"),
              std::string::npos);
    EXPECT_THROW(formatNamed("webp"), FileError);
}

#endif

TEST(Formats, AreToldByNamesAndByBeginnings) {
    EXPECT_EQ(formatOfContent({'R', 'I', 'F', 'F', 0, 0, 0, 0}), ImageFormat::webp);
    EXPECT_EQ(formatOfContent({'R', 'I', 'F', 'F', 0, 0, 0, 0, 'W', 'A', 'V', 'E'}), std::nullopt);
    EXPECT_EQ(formatOfContent({'M', 'M', 0, '+'}), ImageFormat::tiff);
    EXPECT_THROW(formatNamed("gif"), FileError);
}

}  // namespace
}  // namespace pconv::app
