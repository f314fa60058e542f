// `pconv inpaint` on TIFF, WebP and JPEGs of inks: what comes back, through files and pipes, and what is
// refused.
#include <cmath>
#include <cstring>
#include <random>

#include "command.h"
#include "files/file_error.h"
#include "image/io.h"
#include "support/images.h"
#include "support/jpeg_forms.h"

namespace pconv::test {
namespace {

namespace fs = std::filesystem;
using app::Bytes;
using app::Image;
using app::ImageFormat;

constexpr std::uint64_t kEnough = 1'000'000;
constexpr const char* kInpaint = "\"$pconv\" inpaint ";

bool isBuilt(const char* format) {
    try {
        app::formatNamed(format);
        return true;
    } catch (const FileError&) {
        return false;
    }
}

bool inHole(std::size_t pixel, const Image& image) {
    const std::size_t x = pixel % image.width;
    const std::size_t y = pixel / image.width;
    return x >= 20 && x < 26 && y >= 17 && y < 24;
}

void setLevel(Image& image, std::size_t index, double level) {
    if (image.depth == 32) {
        const auto value = static_cast<float>(level);
        std::memcpy(&image.samples[4 * index], &value, sizeof value);
    } else {
        setSample(image, index, static_cast<unsigned>(level * image.maximum()));
    }
}

/// Noise between 0.6 and 0.9, and 0 in the hole: whatever is dark after a fill was not filled.
Image bright(unsigned channels, unsigned depth, bool cmyk = false) {
    Image image = blankImage(48, 40, channels, depth, cmyk);
    std::mt19937 random(channels * 64 + depth);
    for (std::size_t i = 0; i < image.pixelCount() * channels; ++i) {
        const bool is_alpha = image.hasAlpha() && i % channels == channels - 1;
        const double noise = 0.6 + 0.3 * static_cast<double>(random() % 1000) / 1000;
        setLevel(image, i, is_alpha ? 1 : inHole(i / channels, image) ? 0 : noise);
    }
    return image;
}

/// Bit for bit as before outside the hole, and bright inside.
void expectFilled(const Image& before, const Image& after) {
    ASSERT_EQ(after.width, before.width);
    ASSERT_EQ(after.height, before.height);
    ASSERT_EQ(after.channels, before.channels);
    ASSERT_EQ(after.depth, before.depth);
    ASSERT_EQ(after.cmyk, before.cmyk);
    const std::size_t pixel_bytes = std::size_t{before.channels} * before.sampleBytes();
    for (std::size_t i = 0; i < before.pixelCount(); ++i) {
        if (!inHole(i, before)) {
            ASSERT_EQ(
                std::memcmp(&after.samples[i * pixel_bytes], &before.samples[i * pixel_bytes], pixel_bytes),
                0)
                << i;
            continue;
        }
        for (unsigned c = 0; c < before.channels; ++c) {
            ASSERT_GT(after.level(i * before.channels + c), 0.5F) << i;
            ASSERT_LE(after.level(i * before.channels + c), 1.0F) << i;
        }
    }
}

/// A JPEG of inks, inverted as Adobe's programs write them, at the best quality.
Bytes inksJpeg(Image image, J_COLOR_SPACE space) {
    for (std::uint8_t& sample : image.samples) sample = static_cast<std::uint8_t>(255 - sample);
    return makeJpeg(image, space, false, true);
}

class Formats : public CommandTest {
  protected:
    void SetUp() override {
        CommandTest::SetUp();
        Image mask = bright(1, 8);
        for (std::size_t i = 0; i < mask.pixelCount(); ++i) mask.samples[i] = inHole(i, mask) ? 255 : 0;
        save("mask.png", app::encodePng(mask));
    }
    void save(const std::string& name, const Bytes& bytes) const {
        write(name, {bytes.begin(), bytes.end()});
    }
    Bytes bytesOf(const Image& image, ImageFormat format) const {
        app::Notes notes;
        return app::encodeImage(image, {}, format, notes);
    }
    Image load(const std::string& name) const { return app::readImage(path(name), kEnough); }
    Outcome fill(const std::string& arguments) const { return runShell(kInpaint + arguments); }
};

TEST_F(Formats, HelpNamesThoseThatAreBuilt) {
    for (const char* command : {"inpaint", "classify"}) {
        const Outcome help = runCommand({command, "--help"});
        EXPECT_EQ(help.out.find("TIFF") != std::string::npos, isBuilt("tiff")) << help.out;
        EXPECT_EQ(help.out.find("WebP") != std::string::npos, isBuilt("webp")) << help.out;
        EXPECT_NE(help.out.find("PNG, JPEG"), std::string::npos) << help.out;
    }
}

TEST_F(Formats, ATiffKeepsEverySampleOutsideTheHole) {
    if (!isBuilt("tiff")) GTEST_SKIP() << "this pconv was built without TIFF (libtiff)";
    const Image forms[] = {bright(1, 8),  bright(3, 8),  bright(4, 8),  bright(4, 8, true), bright(2, 16),
                           bright(3, 16), bright(4, 16), bright(1, 32), bright(3, 32)};
    for (const Image& image : forms) {
        save("in.tif", bytesOf(image, ImageFormat::tiff));
        ASSERT_TRUE(succeeds(fill("in.tif -m mask.png -o out.tiff")));
        EXPECT_EQ(load("out.tiff").format, ImageFormat::tiff);
        expectFilled(image, load("out.tiff"));
    }
    save("in.png", bytesOf(bright(3, 16), ImageFormat::png));
    ASSERT_TRUE(
        succeeds(fill("in.png -m mask.png -o out.TIF && $pconv inpaint out.TIF -m mask.png -o back.png")));
    expectFilled(bright(3, 16), load("out.TIF"));
    expectFilled(bright(3, 16), load("back.png"));
    // A mask may be one as well.
    save("mask.tif", bytesOf(load("mask.png"), ImageFormat::tiff));
    ASSERT_TRUE(succeeds(fill("in.png -m mask.tif -o by_tiff.png")));
    EXPECT_EQ(load("by_tiff.png").samples, load("out.TIF").samples);
    EXPECT_EQ(files(), "back.png by_tiff.png in.png in.tif mask.png mask.tif out.TIF out.tiff");
}

TEST_F(Formats, AWebpKeepsEverySampleOutsideTheHole) {
    if (!isBuilt("webp")) GTEST_SKIP() << "this pconv was built without WebP (libwebp)";
    for (const unsigned channels : {3U, 4U}) {
        Image image = bright(channels, 8);
        if (channels == 4) image.samples[3] = 100;  // else there is no alpha in the file
        save("in.webp", bytesOf(image, ImageFormat::webp));
        ASSERT_TRUE(succeeds(fill("in.webp -m mask.png -o out.webp")));
        EXPECT_EQ(load("out.webp").format, ImageFormat::webp);
        expectFilled(image, load("out.webp"));
    }
    save("in.png", bytesOf(bright(3, 8), ImageFormat::png));
    ASSERT_TRUE(succeeds(fill("in.png -m mask.png -o out.WebP")));
    expectFilled(bright(3, 8), load("out.WebP"));
}

TEST_F(Formats, AJpegOfInksStaysOne) {
    for (const J_COLOR_SPACE space : {JCS_CMYK, JCS_YCCK}) {
        save("in.jpg", inksJpeg(bright(4, 8, true), space));
        const Image before = load("in.jpg");
        ASSERT_TRUE(before.cmyk);
        ASSERT_NEAR(before.level(0), bright(4, 8, true).level(0), 0.05) << "the inks' sense";
        ASSERT_TRUE(succeeds(fill("in.jpg -m mask.png -o out.jpg")));
        const Image after = load("out.jpg");
        ASSERT_TRUE(after.cmyk);
        std::size_t kept = 0;
        for (std::size_t i = 0; i < before.pixelCount(); ++i) {
            const std::size_t x = i % before.width;
            const std::size_t y = i / before.width;
            if (x >= 16 && x < 32 && y >= 16 && y < 24) continue;  // the blocks that the hole touches
            ASSERT_EQ(std::memcmp(&after.samples[4 * i], &before.samples[4 * i], 4), 0) << x << ',' << y;
            ++kept;
        }
        EXPECT_GT(kept, 1500U);
        EXPECT_GT(after.level(4 * (20 * std::size_t{before.width} + 22)), 0.4F) << "the hole is still white";

        const Outcome outcome = fill("in.jpg -m mask.png -o out.png");
        EXPECT_EQ(outcome.exit_code, 0);
        EXPECT_NE(outcome.err.find("converted from CMYK to RGB"), std::string::npos) << outcome.err;
        const Image rgb = load("out.png");
        ASSERT_EQ(rgb.channels, 3U);
        for (std::size_t i = 0; i < before.pixelCount(); ++i) {
            if (inHole(i, before)) continue;
            for (std::size_t c = 0; c < 3; ++c) {
                const float light = (1 - before.level(4 * i + c)) * (1 - before.level(4 * i + 3));
                ASSERT_NEAR(rgb.samples[3 * i + c], 255 * light, 0.51) << i;
            }
        }
        if (!isBuilt("tiff")) continue;
        ASSERT_TRUE(succeeds(fill("in.jpg -m mask.png -o out.tif")));
        const Image inks = load("out.tif");
        ASSERT_TRUE(inks.cmyk);
        for (std::size_t i = 0; i < before.pixelCount(); ++i) {
            if (inHole(i, before)) continue;
            ASSERT_EQ(std::memcmp(&inks.samples[4 * i], &before.samples[4 * i], 4), 0) << i;
        }
    }
}

TEST_F(Formats, GoThroughPipesByContentAndByFormat) {
    save("in.png", bytesOf(bright(3, 8), ImageFormat::png));
    for (const char* format : {"tiff", "webp"}) {
        if (!isBuilt(format)) continue;
        const ImageFormat kind = app::formatNamed(format);
        save("in", bytesOf(bright(3, 8), kind));
        for (const std::string& arguments :
             {std::string("- -m mask.png -o - < in > o"),
              std::string("in -m mask.png -o /dev/stdout | cat > o"), std::string("in -m - -o o < mask.png"),
              std::string("in.png -m mask.png -o - --format ") + format + " > o",
              std::string("in.png -m mask.png -o o --format ") + format}) {
            EXPECT_TRUE(succeeds(fill(arguments))) << arguments;
            EXPECT_EQ(load("o").format, kind) << arguments;
            expectFilled(bright(3, 8), load("o"));
            fs::remove(path("o"));
        }
        // What a file is, its content tells, not its name.
        write("lie.png", read("in"));
        EXPECT_TRUE(succeeds(fill("lie.png -m mask.png -o out.png")));
        EXPECT_EQ(load("out.png").format, ImageFormat::png);
        expectFilled(bright(3, 8), load("out.png"));
        EXPECT_TRUE(failsWith(fill(std::string("in.png -m mask.png -o x.jpg --format ") + format), 2,
                              "asks for another format than --format"));
    }
    save("inks.jpg", inksJpeg(bright(4, 8, true), JCS_YCCK));
    EXPECT_TRUE(succeeds(fill("- -m mask.png -o - < inks.jpg > o")));
    EXPECT_EQ(load("o").format, ImageFormat::jpeg);
    EXPECT_TRUE(load("o").cmyk);
}

TEST_F(Formats, FaultsAreOneLineAndLeaveNothing) {
    save("in.png", bytesOf(bright(3, 8), ImageFormat::png));
    write("text.tif", "this is no picture");
    write("text.webp", "RIFF....WAVE");
    write("head.tif", std::string("II*\0\x08\0\0\0", 8));
    write("head.webp", std::string("RIFF\x04\0\0\0WEBP", 12));
    for (const char* name : {"text.tif", "text.webp"}) {
        EXPECT_TRUE(failsWith(fill(std::string(name) + " -m mask.png -o out.png"), 2,
                              "cannot read '" + std::string(name) + "': not a picture of a known kind"));
        EXPECT_TRUE(failsWith(fill(std::string("in.png -o out.png -m ") + name), 2, name));
    }
    for (const char* format : {"tif", "webp"}) {
        const std::string name = std::string("head.") + format;
        EXPECT_TRUE(failsWith(fill(name + " -m mask.png -o out.png"), 2, "cannot read '" + name + "': "));
        EXPECT_TRUE(
            failsWith(fill("- -m mask.png -o out.png < " + name), 2, "cannot read the standard input: "));
    }
    std::string left = "head.tif head.webp in.png mask.png text.tif text.webp";
    EXPECT_EQ(files(), left);
    if (isBuilt("tiff")) {
        const Bytes whole = bytesOf(bright(3, 8), ImageFormat::tiff);
        save("cut.tif", {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 2)});
        EXPECT_TRUE(failsWith(fill("cut.tif -m mask.png -o out.tif"), 2, "cannot read 'cut.tif': "));
        save("light.tif", bytesOf(bright(3, 32), ImageFormat::tiff));
        EXPECT_TRUE(
            failsWith(fill("light.tif -m mask.png -o out.png"), 2, "floating-point numbers; expected TIFF"));
        EXPECT_TRUE(failsWith(fill("light.tif -m mask.png -o out.tif --max-pixels 1919"), 2,
                              "48x40 pixels; at most 1919"));
        left = "cut.tif head.tif head.webp in.png light.tif mask.png text.tif text.webp";
    }
    if (isBuilt("webp")) {
        const Bytes whole = bytesOf(bright(3, 8), ImageFormat::webp);
        save("cut.webp", {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 2)});
        EXPECT_TRUE(failsWith(fill("cut.webp -m mask.png -o out.webp"), 2, "cannot read 'cut.webp': "));
        fs::remove(path("cut.webp"));
    }
    EXPECT_EQ(files(), left);
}

TEST_F(Formats, WhatIsNotBuiltIsNamedInOneLine) {
    if (isBuilt("tiff") && isBuilt("webp")) GTEST_SKIP() << "this pconv was built with both, TIFF and WebP";
    save("in.png", bytesOf(bright(3, 8), ImageFormat::png));
    write("a.tif", std::string("II*\0\x08\0\0\0", 8));
    write("a.webp", std::string("RIFF\x04\0\0\0WEBP", 12));
    const auto expect = [&](const std::string& ending, const std::string& format, const std::string& line) {
        if (isBuilt(format.c_str())) return;
        EXPECT_TRUE(failsWith(fill("a" + ending + " -m mask.png -o out.png"), 2, line));
        EXPECT_TRUE(failsWith(fill("in.png -o out.png -m a" + ending), 2, line));
        EXPECT_TRUE(failsWith(fill("in.png -m mask.png -o out" + ending), 2, line));
        EXPECT_TRUE(failsWith(fill("in.png -m mask.png -o - --format " + format), 2, line));
    };
    expect(".tif", "tiff", "this pconv was built without TIFF (libtiff)");
    expect(".webp", "webp", "this pconv was built without WebP (libwebp)");
    EXPECT_EQ(files(), "a.tif a.webp in.png mask.png");
}

TEST_F(Formats, NoPixelThatWasInTheHoleIsInTheOutput) {
    // Two pictures that differ in the hole alone give the same file.
    for (const char* format : {"tiff", "webp", "png"}) {
        if (!isBuilt(format)) continue;
        const ImageFormat kind = app::formatNamed(format);
        Image image = bright(4, 8);
        image.samples[3] = 200;
        std::string outputs[2];
        for (std::string& output : outputs) {
            for (std::size_t i = 0; i < image.samples.size(); ++i) {
                if (inHole(i / 4, image) && i % 4 != 3)
                    image.samples[i] = static_cast<std::uint8_t>(image.samples[i] + 77 + i % 50);
            }
            save("in", bytesOf(image, kind));
            ASSERT_TRUE(succeeds(fill("in -m mask.png -o out")));
            output = read("out");
        }
        EXPECT_EQ(outputs[0], outputs[1]) << format;
    }
}

}  // namespace
}  // namespace pconv::test
