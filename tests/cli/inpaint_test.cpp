// `pconv inpaint`: what comes back for every kind of picture, and pictures and masks that are at fault.
#include <sys/stat.h>
#include <zlib.h>

#include <cstring>
#include <random>

#include "command.h"
#include "image/exif.h"
#include "image/io.h"
#include "image/png_chunks.h"
#include "support/images.h"
#include "support/png_forms.h"

namespace pconv::test {
namespace {

namespace fs = std::filesystem;
using app::Bytes;
using app::Image;

constexpr std::uint64_t kEnough = 100'000'000;

unsigned sampleAt(const Image& image, std::size_t index) {
    if (image.depth != 16) return image.samples[index];
    std::uint16_t value = 0;
    std::memcpy(&value, &image.samples[2 * index], 2);
    return value;
}

/// Bright noise, so that whatever is dark after a fill was not filled.
Image bright(std::uint32_t width, std::uint32_t height, unsigned channels, unsigned depth) {
    Image image = blankImage(width, height, channels, depth);
    std::mt19937 random(width + height + channels + depth);
    const unsigned top = image.maximum();
    for (std::size_t i = 0; i < image.pixelCount() * channels; ++i) {
        setSample(image, i, top - static_cast<unsigned>(random() % (top / 4 + 1)));
        if (image.hasAlpha() && i % channels == channels - 1) setSample(image, i, top);
    }
    return image;
}

bool inHole(const Image& image, std::size_t pixel) {
    const std::size_t x = pixel % image.width;
    const std::size_t y = pixel / image.width;
    return (x >= 5 && x < 9 && y >= 3 && y < 12) || x == y;
}

void darkenHole(Image& image, bool alpha_too) {
    for (std::size_t i = 0; i < image.pixelCount() * image.channels; ++i) {
        const bool is_alpha = image.hasAlpha() && i % image.channels == image.channels - 1;
        if (inHole(image, i / image.channels) && (!is_alpha || alpha_too)) setSample(image, i, 0);
    }
}

/// A mask of the hole: `inside` there, `outside` elsewhere.
Image maskOf(const Image& image, unsigned channels, unsigned depth, unsigned inside, unsigned outside) {
    Image mask = blankImage(image.width, image.height, channels, depth);
    for (std::size_t i = 0; i < mask.pixelCount() * channels; ++i) {
        setSample(mask, i, inHole(image, i / channels) ? inside : outside);
    }
    return mask;
}

class Inpaint : public CommandTest {
  protected:
    void save(const std::string& name, const Bytes& bytes) const {
        write(name, std::string(bytes.begin(), bytes.end()));
    }
    void savePng(const std::string& name, const Image& image) const { save(name, app::encodePng(image)); }
    Image load(const std::string& name) const { return app::readImage(path(name), kEnough); }
    Outcome inpaint(const std::vector<std::string>& arguments, const Limits& limits = {}) const {
        std::vector<std::string> all = {"inpaint"};
        for (const std::string& argument : arguments) {
            const bool is_file = argument.find('.') != std::string::npos && argument[0] != '/';
            all.push_back(is_file ? path(argument) : argument);
        }
        return runCommand(all, limits);
    }

    /// Every sample outside the hole is as it was, every colour inside is bright, and nothing is transparent.
    static void expectFilled(const Image& before, const Image& after) {
        ASSERT_EQ(after.width, before.width);
        ASSERT_EQ(after.height, before.height);
        ASSERT_EQ(after.channels, before.channels);
        ASSERT_EQ(after.depth, before.depth);
        for (std::size_t i = 0; i < before.pixelCount() * before.channels; ++i) {
            if (!inHole(before, i / before.channels)) {
                ASSERT_EQ(sampleAt(after, i), sampleAt(before, i)) << i;
            } else if (before.hasAlpha() && i % before.channels == before.channels - 1) {
                ASSERT_EQ(sampleAt(after, i), after.maximum()) << i;
            } else {
                ASSERT_GE(2 * sampleAt(after, i), after.maximum()) << i;
            }
        }
    }
};

class InpaintForms : public Inpaint, public ::testing::WithParamInterface<pconv::test::PngForm> {};

TEST_P(InpaintForms, KeepsEverythingOutsideTheHole) {
    Image image = bright(40, 30, GetParam().channels, GetParam().depth);
    darkenHole(image, false);
    const Bytes profile = {0, 0, 0, 9, 1, 2, 3, 4, 5};
    image.chunks = {app::makeProfileChunk(profile), app::makeDensityChunk({11811, 5905, true}),
                    app::makeChunk("eXIf", app::makeExif(1, {{0x013b, "Lotte R"}}))};
    savePng("in.png", image);
    savePng("mask.png", maskOf(image, 1, 8, 255, 0));
    ASSERT_TRUE(succeeds(inpaint({"in.png", "--mask", "mask.png", "-o", "out.png"})));
    const Image after = load("out.png");
    expectFilled(image, after);
    ASSERT_EQ(after.chunks.size(), image.chunks.size());
    for (std::size_t i = 0; i < image.chunks.size(); ++i)
        EXPECT_EQ(after.chunks[i].data, image.chunks[i].data);
    EXPECT_EQ(files(), "in.png mask.png out.png");
}

TEST_P(InpaintForms, FillsWhatIsTransparent) {
    Image image = bright(40, 30, GetParam().channels, GetParam().depth);
    darkenHole(image, true);
    if (!image.hasAlpha()) image.has_transparent_colour = true;  // of which 0 is the colour
    savePng("in.png", image);
    ASSERT_TRUE(succeeds(inpaint({"in.png", "-o", "out.png"})));
    const Image after = load("out.png");
    expectFilled(image, after);
    EXPECT_FALSE(after.has_transparent_colour);
}

INSTANTIATE_TEST_SUITE_P(All, InpaintForms, pconv::test::allPngForms(), pconv::test::nameOfPngForm);

TEST_F(Inpaint, MasksOfEveryKindMeanTheSame) {
    Image image = bright(40, 30, 3, 8);
    darkenHole(image, false);
    savePng("in.png", image);
    savePng("mask.png", maskOf(image, 1, 8, 255, 0));
    ASSERT_TRUE(succeeds(inpaint({"in.png", "--mask", "mask.png", "-o", "plain.png"})));
    const Bytes expected = load("plain.png").samples;
    const auto same = [&](const Image& mask, const std::string& colour) {
        savePng("mask.png", mask);
        EXPECT_TRUE(succeeds(inpaint({"in.png", "--mask", "mask.png", "--hole", colour, "-o", "out.png"})));
        return load("out.png").samples == expected;
    };
    EXPECT_TRUE(same(maskOf(image, 1, 8, 128, 127), "white"));
    EXPECT_TRUE(same(maskOf(image, 1, 8, 127, 128), "black"));
    EXPECT_TRUE(same(maskOf(image, 1, 1, 1, 0), "white"));
    EXPECT_TRUE(same(maskOf(image, 1, 1, 0, 1), "black"));
    EXPECT_TRUE(same(maskOf(image, 1, 4, 8, 7), "white"));
    EXPECT_TRUE(same(maskOf(image, 1, 16, 32768, 32767), "white"));
    EXPECT_TRUE(same(maskOf(image, 3, 8, 200, 3), "white"));
    EXPECT_TRUE(same(maskOf(image, 3, 16, 3, 60000), "black"));
    // Painted on a transparent layer: white or black where it is opaque, nothing elsewhere.
    EXPECT_TRUE(same(maskOf(image, 2, 8, 255, 0), "white"));
    Image layer = maskOf(image, 4, 8, 0, 0);
    for (std::size_t i = 0; i < layer.pixelCount(); ++i)
        layer.samples[4 * i + 3] = inHole(image, i) ? 255 : 0;
    EXPECT_TRUE(same(layer, "black"));
    // The picture under the mask teaches nothing, whatever it holds.
    for (std::size_t i = 0; i < image.samples.size(); ++i) {
        if (inHole(image, i / 3)) image.samples[i] = static_cast<std::uint8_t>(i);
    }
    savePng("in.png", image);
    EXPECT_TRUE(same(maskOf(image, 1, 8, 255, 0), "white"));
}

TEST_F(Inpaint, AMaskLeavesOtherTransparentPixelsAlone) {
    Image image = bright(40, 30, 4, 8);
    darkenHole(image, false);
    const auto is_ghost = [&](std::size_t pixel) {
        return !inHole(image, pixel) && pixel % image.width > 30;
    };
    for (std::size_t i = 0; i < image.pixelCount(); ++i) {
        if (is_ghost(i)) std::memset(&image.samples[4 * i], 0, 4);  // dark, but not seen
    }
    savePng("in.png", image);
    savePng("mask.png", maskOf(image, 1, 8, 255, 0));
    ASSERT_TRUE(succeeds(inpaint({"in.png", "--mask", "mask.png", "-o", "out.png"})));
    const Image after = load("out.png");
    for (std::size_t i = 0; i < image.pixelCount() * 4; ++i) {
        if (!inHole(image, i / 4)) {
            ASSERT_EQ(after.samples[i], image.samples[i]) << i;
        } else if (i % 4 != 3) {
            ASSERT_GE(after.samples[i], 128)
                << "the dark of what is transparent has been learned from, at " << i;
        }
    }
}

TEST_F(Inpaint, AFilledPixelDoesNotTakeTheTransparentColour) {
    Image image = blankImage(20, 20, 3, 8);
    std::fill(image.samples.begin(), image.samples.end(), 90);
    image.samples[0] = 80;
    image.has_transparent_colour = true;
    image.transparent_colour = {90, 90, 90};
    for (std::size_t i = 0; i < image.pixelCount(); ++i) {
        if (i % 20 < 10 && i % 20 > 0) image.samples[3 * i] = 91;
    }
    savePng("in.png", image);
    Image mask = blankImage(20, 20, 1, 8);
    for (std::size_t i = 0; i < mask.pixelCount(); ++i) mask.samples[i] = i % 20 > 3 && i % 20 < 16 ? 255 : 0;
    savePng("mask.png", mask);
    ASSERT_TRUE(succeeds(inpaint({"in.png", "-m", "mask.png", "-o", "out.png"})));
    const Image after = load("out.png");
    ASSERT_TRUE(after.has_transparent_colour);
    for (std::size_t i = 0; i < mask.pixelCount(); ++i) {
        const bool has_it = std::memcmp(&after.samples[3 * i], "\x5a\x5a\x5a", 3) == 0;
        EXPECT_FALSE(has_it && mask.samples[i] != 0) << i;
    }
}

TEST_F(Inpaint, TheSmallestPictures) {
    for (const std::uint32_t size : {1U, 2U, 3U}) {
        Image image = bright(size, 1, 3, 8);
        savePng("in.png", image);
        Image mask = blankImage(size, 1, 1, 8);
        savePng("mask.png", mask);
        Outcome outcome = inpaint({"in.png", "--mask", "mask.png", "-o", "out.png"});
        EXPECT_EQ(outcome.exit_code, 0);
        EXPECT_NE(outcome.err.find("no hole to fill"), std::string::npos);
        EXPECT_EQ(load("out.png").samples, image.samples);
        mask.samples[0] = 255;
        savePng("mask.png", mask);
        outcome = inpaint({"in.png", "--mask", "mask.png", "-o", "out.png"});
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
        EXPECT_EQ(outcome.err.empty(), size > 1) << outcome.err;
        EXPECT_EQ(std::memcmp(&load("out.png").samples[3], &image.samples[3], 3 * (size - 1)), 0);
    }
}

TEST_F(Inpaint, FromJpegToPngTheOtherPixelsAreThoseOfTheJpeg) {
    Image image = bright(64, 48, 3, 8);
    image.chunks = {app::makeDensityChunk({11811, 11811, true})};
    save("in.jpg", app::encodeJpeg(image));
    const Image before = load("in.jpg");
    savePng("mask.png", maskOf(before, 1, 8, 255, 0));
    ASSERT_TRUE(succeeds(inpaint({"in.jpg", "--mask", "mask.png", "-o", "out.png"})));
    const Image after = load("out.png");
    expectFilled(before, after);
    EXPECT_EQ(app::densityOf(*app::findChunk(after.chunks, "pHYs")).x, 11811U);
}

TEST_F(Inpaint, FromJpegToJpegTheOtherBlocksAreKept) {
    save("in.jpg", app::encodeJpeg(bright(64, 48, 3, 8)));
    const Image before = load("in.jpg");
    savePng("mask.png", maskOf(before, 1, 8, 255, 0));
    ASSERT_TRUE(succeeds(inpaint({"in.jpg", "--mask", "mask.png", "-o", "out.JPEG"})));
    const Image after = load("out.JPEG");
    std::size_t kept = 0;
    for (std::size_t pixel = 0; pixel < before.pixelCount(); ++pixel) {
        const std::size_t left = pixel % 64 / 8 * 8;
        const std::size_t top = pixel / 64 / 8 * 8;
        bool touched = false;
        for (std::size_t i = 0; i < 64; ++i)
            touched = touched || inHole(before, (top + i / 8) * 64 + left + i % 8);
        if (touched) continue;
        ++kept;
        EXPECT_EQ(std::memcmp(&after.samples[3 * pixel], &before.samples[3 * pixel], 3), 0) << pixel;
    }
    EXPECT_GT(kept, 1500U);
}

TEST_F(Inpaint, ThePictureMayBeReplacedInPlaceAndKeepsItsPermissions) {
    Image image = bright(40, 30, 4, 8);
    darkenHole(image, true);
    savePng("in.png", image);
    fs::permissions(path("in.png"), fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_write);
    ASSERT_TRUE(succeeds(inpaint({"in.png", "-o", "in.png"})));
    expectFilled(image, load("in.png"));
    EXPECT_EQ(fs::status(path("in.png")).permissions(),
              fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_write);
    Limits limits;
    limits.file_mode_mask = 027;
    EXPECT_EQ(inpaint({"in.png", "-o", "new.png"}, limits).exit_code, 0);
    EXPECT_EQ(static_cast<unsigned>(fs::status(path("new.png")).permissions()), 0640U);
}

TEST_F(Inpaint, FaultyInputsAreOneLineAndLeaveNothing) {
    Image image = bright(40, 30, 3, 8);
    savePng("in.png", image);
    savePng("mask.png", maskOf(image, 1, 8, 255, 0));
    savePng("small.png", blankImage(39, 30, 1, 8));
    write("text.png", "this is not a picture");
    write("empty.png", "");
    const std::string png = read("in.png");
    write("cut.png", png.substr(0, png.size() / 2));
    const std::string before = files();
    const auto fails = [&](const std::vector<std::string>& arguments, const std::string& part) {
        const auto result = failsWith(inpaint(arguments), 2, part);
        EXPECT_EQ(files(), before);
        return result;
    };
    EXPECT_TRUE(
        fails({"in.png", "-o", "out.png"}, "no transparent pixels to fill; expected those, or --mask"));
    EXPECT_TRUE(fails({"in.png", "-m", "small.png", "-o", "out.png"}, "it is 39x30 pixels; expected 40x30"));
    EXPECT_TRUE(
        fails({"in.png", "-m", "text.png", "-o", "out.png"}, "text.png': not a picture of a known kind"));
    EXPECT_TRUE(
        fails({"text.png", "-m", "mask.png", "-o", "out.png"}, "text.png': not a picture of a known kind"));
    EXPECT_TRUE(fails({"empty.png", "-m", "mask.png", "-o", "out.png"}, "empty.png': the file is empty"));
    EXPECT_TRUE(fails({"cut.png", "-m", "mask.png", "-o", "out.png"}, "cut.png'"));
    EXPECT_TRUE(fails({"absent.png", "-m", "mask.png", "-o", "out.png"}, "absent.png'"));
    EXPECT_TRUE(fails({"in.png", "-m", "absent.png", "-o", "out.png"}, "absent.png'"));
    EXPECT_TRUE(fails({"/tmp", "-m", "mask.png", "-o", "out.png"}, "it is a folder"));
    EXPECT_TRUE(fails({"/dev/zero", "-m", "mask.png", "-o", "out.png"}, "not a picture of a known kind"));
    EXPECT_TRUE(fails({"in.png", "-m", "mask.png", "-o", "out.gif"},
                      ".png, .jpg, .jpeg, .tif, .tiff or .webp is expected"));
    EXPECT_TRUE(fails({"in.png", "-m", "mask.png", "-o", "out.png", "--max-pixels", "1199"},
                      "40x30 pixels; at most 1199"));
    EXPECT_TRUE(
        failsWith(inpaint({"in.png", "-m", "mask.png", "-o", "out.png", "-d", "nowhere"}), 3, "nowhere"));
    EXPECT_EQ(files(), before);
}

TEST_F(Inpaint, BombsAreRefusedByTheirHeader) {
    const std::string png = [&] {
        savePng("in.png", bright(8, 8, 3, 8));
        return read("in.png");
    }();
    const auto announce = [&](std::uint32_t width, std::uint32_t height) {
        std::string lie = png;
        for (unsigned i = 0; i < 4; ++i) {
            lie[16 + i] = static_cast<char>(width >> (24 - 8 * i));
            lie[20 + i] = static_cast<char>(height >> (24 - 8 * i));
        }
        const auto sum = static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(&lie[12]), 17));
        for (unsigned i = 0; i < 4; ++i) lie[29 + i] = static_cast<char>(sum >> (24 - 8 * i));
        write("bomb.png", lie);
        return inpaint({"bomb.png", "-m", "in.png", "-o", "out.png"});
    };
    EXPECT_TRUE(failsWith(announce(0, 8), 2, "0x8 pixels"));
    EXPECT_TRUE(failsWith(announce(0x80000000U, 1), 2, "2147483648x1 pixels; at most"));
    EXPECT_TRUE(failsWith(announce(0x7fffffff, 0x7fffffff), 2, "at most 134217728"));
    EXPECT_TRUE(failsWith(announce(60'000, 60'000), 2, "at most 134217728"));
    EXPECT_TRUE(failsWith(announce(10'000, 10'000), 2, "cannot hold them"));
    EXPECT_EQ(files(), "bomb.png in.png");
}

TEST_F(Inpaint, WhatCannotBeWrittenLeavesTheOldFile) {
    Image image = bright(40, 30, 4, 8);
    darkenHole(image, true);
    savePng("in.png", image);
    write("old.png", "old");
    fs::create_symlink("/dev/full", path("full.png"));
    EXPECT_TRUE(failsWith(inpaint({"in.png", "-o", "full.png"}), 1, "full.png': No space left"));
    EXPECT_TRUE(failsWith(inpaint({"in.png", "-o", "/absent/out.png"}), 1, "cannot write '/absent/out.png'"));
    Limits limits;
    limits.file_bytes = 200;
    EXPECT_TRUE(failsWith(inpaint({"in.png", "-o", "old.png"}, limits), 1, "cannot write"));
    EXPECT_EQ(read("old.png"), "old");
    savePng("wide.png", bright(65501, 1, 2, 8));
    savePng("mask.png", blankImage(65501, 1, 1, 1));
    const Outcome wide = inpaint({"wide.png", "-m", "mask.png", "-o", "out.jpg"});
    EXPECT_EQ(wide.exit_code, 2);
    EXPECT_NE(wide.err.find("JPEG holds at most"), std::string::npos) << wide.err;
    EXPECT_EQ(files(), "full.png in.png mask.png old.png wide.png");
}

TEST_F(Inpaint, NoMemoryIsOneLine) {
#if defined(__SANITIZE_ADDRESS__)
    GTEST_SKIP() << "the address sanitizer needs more address space than the limit leaves";
#endif
    savePng("in.png", blankImage(11'000, 11'000, 4, 8));
    Limits limits;
    limits.memory_bytes = 400ULL << 20;
    EXPECT_TRUE(failsWith(inpaint({"in.png", "-o", "out.png"}, limits), 1, "memory"));
    EXPECT_EQ(files(), "in.png");
}

}  // namespace
}  // namespace pconv::test
