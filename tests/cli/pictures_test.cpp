// `pconv inpaint` on pictures that broke something (tests/pictures), and on their kinds.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "command.h"
#include "image/exif.h"
#include "image/io.h"
#include "image/png_chunks.h"
#include "support/images.h"

namespace pconv::test {
namespace {

using app::Bytes;
using app::Image;

constexpr std::uint64_t kEnough = 100'000'000;

class Pictures : public CommandTest {
  protected:
    static std::string given(const std::string& name) {
        return std::string(PCONV_TEST_PICTURES) + "/" + name;
    }
    void save(const std::string& name, const Bytes& bytes) const {
        write(name, {bytes.begin(), bytes.end()});
    }
    Image load(const std::string& name) const { return app::readImage(path(name), kEnough); }

    /// Fills, expects success and gives what was said.
    std::string fill(const std::string& image, const std::string& mask, const std::string& output) const {
        std::vector<std::string> arguments = {"inpaint", image, "-o", path(output)};
        if (!mask.empty()) arguments.insert(arguments.end(), {"-m", mask});
        const Outcome outcome = runCommand(arguments);
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
        return outcome.err;
    }
};

Image noise(std::uint32_t width, std::uint32_t height, unsigned channels) {
    Image image = blankImage(width, height, channels);
    std::mt19937 random(width + height + channels);
    for (std::uint8_t& sample : image.samples) sample = static_cast<std::uint8_t>(random());
    return image;
}

TEST_F(Pictures, AnIccProfileInBadPartsIsLeftOutAndThePictureFilled) {
    EXPECT_EQ(fill(given("rgb.jpg"), given("mask.png"), "plain.png"), "");
    for (const char* name : {"icc_twice.jpg", "icc_missing_part.jpg"}) {
        EXPECT_NE(fill(given(name), given("mask.png"), "out.png").find("its ICC profile is incomplete"),
                  std::string::npos);
        EXPECT_EQ(load("out.png").samples, load("plain.png").samples);
        EXPECT_EQ(app::findChunk(load("out.png").chunks, "iCCP"), nullptr);
        fill(given(name), given("mask.png"), "out.jpg");
        EXPECT_EQ(read("out.jpg").find("ICC_PROFILE"), std::string::npos);
        // As a mask it is as good as any.
        fill(given("rgb.jpg"), given(name), "out.png");
        fill(given("rgb.jpg"), given("rgb.jpg"), "same.png");
        EXPECT_EQ(load("out.png").samples, load("same.png").samples);
    }
}

TEST_F(Pictures, WhatIsTransparentInAMaskIsNoHoleWhateverSaysIt) {
    fill(given("rgb.jpg"), given("mask_rgba.png"), "alpha.png");
    fill(given("rgb.jpg"), given("mask_gray_trns.png"), "gray.png");
    const Image expected = load("alpha.png");
    EXPECT_EQ(load("gray.png").samples, expected.samples);
    const Image before = app::readImage(given("rgb.jpg"), kEnough);
    const Image mask = app::readImage(given("mask_rgba.png"), kEnough);
    std::size_t changed_outside = 0;
    std::size_t changed = 0;
    for (std::size_t i = 0; i < before.samples.size(); ++i) {
        if (before.samples[i] == expected.samples[i]) continue;
        ++changed;
        changed_outside += mask.samples[i / 3 * 4 + 3] == 0 ? 1 : 0;
    }
    EXPECT_EQ(changed_outside, 0U);
    EXPECT_GT(changed, 0U);
    // Colour: what is transparent has a white of its own.
    Image colour = blankImage(mask.width, mask.height, 3);
    colour.has_transparent_colour = true;
    colour.transparent_colour = {255, 254, 253};
    for (std::size_t i = 0; i < mask.pixelCount(); ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
            const bool hole = mask.samples[i * 4 + 3] != 0;
            colour.samples[i * 3 + c] =
                hole ? mask.samples[i * 4 + c] : static_cast<std::uint8_t>(colour.transparent_colour[c]);
        }
    }
    save("colour.png", app::encodePng(colour));
    fill(given("rgb.jpg"), path("colour.png"), "out.png");
    EXPECT_EQ(load("out.png").samples, expected.samples);
}

TEST_F(Pictures, AMaskOfLabelsIsAnErrorThatNamesItsBrightestValue) {
    const auto refuses = [&](const std::string& mask, const char* part) {
        return failsWith(runCommand({"inpaint", given("rgb.jpg"), "-m", mask, "-o", path("out.png")}), 2,
                         part);
    };
    EXPECT_TRUE(refuses(given("mask01.png"), "its brightest value is 1 of 255; expected half white and up"));
    Image mask = blankImage(64, 48, 1);
    mask.samples[5] = 100;
    save("mask.png", app::encodePng(mask));
    EXPECT_TRUE(refuses(path("mask.png"), "its brightest value is 100 of 255"));
    // With more than two values it may be a mask that has no hole.
    mask.samples[6] = 3;
    save("mask.png", app::encodePng(mask));
    const std::string said = fill(given("rgb.jpg"), path("mask.png"), "out.png");
    EXPECT_NE(said.find("its brightest value is 100 of 255"), std::string::npos) << said;
    mask.samples.assign(mask.samples.size(), 0);
    save("mask.png", app::encodePng(mask));
    EXPECT_EQ(
        fill(given("rgb.jpg"), path("mask.png"), "out.png"),
        "pconv: note: '" + given("rgb.jpg") + "': there is no hole to fill; the picture is kept as it is\n");
}

TEST_F(Pictures, WhatOtherReadersTakeIsTaken) {
    fill(given("win.png"), given("mask.png"), "out.png");
    EXPECT_EQ(load("out.png").width, 64U);
    fill(given("noeoi_mp4.jpg"), given("mask.png"), "film.png");
    fill(given("rgb.jpg"), given("mask.png"), "plain.png");
    EXPECT_EQ(load("film.png").samples, load("plain.png").samples);
    fill(given("noeoi_mp4.jpg"), given("mask.png"), "film.jpg");
    EXPECT_EQ(read("film.jpg").find("ftyp"), std::string::npos);
    EXPECT_EQ(load("film.jpg").width, 64U);
    EXPECT_TRUE(failsWith(runCommand({"inpaint", given("cgbi.png"), "-o", path("out.png")}), 2,
                          "an iPhone's variant of PNG (CgBI)"));
}

TEST_F(Pictures, NoThumbnailShowsWhatWasRemoved) {
    const std::string before = [] {
        const Bytes bytes = app::readImage(given("thumb.jpg"), kEnough).jpeg;
        return std::string(bytes.begin(), bytes.end());
    }();
    const std::size_t thumbnail = before.find("\xff\xd8", 2);
    ASSERT_NE(thumbnail, std::string::npos);
    const std::string part = before.substr(thumbnail + 600, 40);  // of its scan: its tables may be anyone's
    for (const char* output : {"out.jpg", "out.png"}) {
        const std::string said = fill(given("thumb.jpg"), given("bigmask.png"), output);
        EXPECT_NE(said.find("the Exif thumbnail"), std::string::npos) << said;
        EXPECT_EQ(read(output).find(part), std::string::npos) << output;
        EXPECT_EQ(app::exifOrientation(app::findChunk(load(output).chunks, "eXIf")->data), 1U);
        fill(path(output), given("bigmask.png"), "again.jpg");
        EXPECT_EQ(read("again.jpg").find(part), std::string::npos) << output;
    }
}

TEST_F(Pictures, AGainMapIsLeftOutWithItsMetadata) {
    for (const char* output : {"out.jpg", "out.png"}) {
        const std::string said = fill(given("ultrahdr.jpg"), given("bigmask.png"), output);
        EXPECT_NE(said.find("a gain map"), std::string::npos) << said;
        const std::string file = read(output);
        EXPECT_EQ(file.find("hdrgm:"), std::string::npos);
        EXPECT_EQ(file.find("MPF"), std::string::npos);
        EXPECT_EQ(file.rfind("\xff\xd8\xff"), std::string(output) == "out.jpg" ? 0U : std::string::npos);
    }
}

TEST_F(Pictures, WhatASoftBrushErasedIsFilledWithoutARing) {
    // A gradient, erased about the middle: what is left of a colour is what its alpha's 8 bits could hold.
    Image before = blankImage(96, 72, 4);
    Image erased = before;
    for (std::size_t i = 0; i < before.pixelCount(); ++i) {
        const double x = static_cast<double>(i % 96);
        const double y = static_cast<double>(i / 96);
        const double distance = std::hypot(x - 48, y - 36);
        const double alpha = std::round(255 * std::clamp((distance - 10) / 16, 0.0, 1.0));
        const double colours[] = {60 + x, 80 + y, 200 - x};
        for (std::size_t c = 0; c < 3; ++c) {
            before.samples[4 * i + c] = static_cast<std::uint8_t>(colours[c]);
            const double premultiplied = std::round(colours[c] * alpha / 255);
            const double left = alpha == 0 ? 0 : std::min(255.0, std::round(premultiplied * 255 / alpha));
            erased.samples[4 * i + c] = static_cast<std::uint8_t>(left);
        }
        before.samples[4 * i + 3] = 255;
        erased.samples[4 * i + 3] = static_cast<std::uint8_t>(alpha);
    }
    save("in.png", app::encodePng(erased));
    EXPECT_EQ(fill(path("in.png"), "", "out.png"), "");
    const Image after = load("out.png");
    for (std::size_t i = 0; i < before.samples.size(); ++i) {
        if (erased.samples[i / 4 * 4 + 3] == 255) {
            ASSERT_EQ(after.samples[i], before.samples[i]) << i;
        } else {
            ASSERT_NEAR(after.samples[i], before.samples[i], i % 4 == 3 ? 0 : 6)
                << i % (4 * 96) / 4 << ',' << i / (4 * 96);
        }
    }
    fill(given("softerase.png"), "", "given.png");
    const Image given_after = load("given.png");
    for (std::size_t i = 0; i < given_after.pixelCount(); ++i) {
        ASSERT_EQ(given_after.samples[4 * i + 3], 255);
        if (i % given_after.width == 0) continue;
        for (std::size_t c = 0; c < 3; ++c)
            ASSERT_NEAR(given_after.samples[4 * i + c], given_after.samples[4 * (i - 1) + c], 8)
                << "a ring at " << i;
    }
}

TEST_F(Pictures, LightIsConvertedForAFormatThatCannotTellIt) {
    const Image linear = app::readImage(given("lin16.png"), kEnough);
    EXPECT_NE(fill(given("lin16.png"), given("mask.png"), "out.jpg").find("gAMA 1.000 to sRGB"),
              std::string::npos);
    const Image mask = app::readImage(given("mask.png"), kEnough);
    const Image after = load("out.jpg");
    double error = 0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < linear.pixelCount(); ++i) {
        if (mask.samples[i] != 0) continue;
        for (std::size_t c = 0; c < 3; ++c) {
            const double light = linear.level(3 * i + c);
            const double curve =
                light <= 0.0031308 ? 12.92 * light : 1.055 * std::pow(light, 1 / 2.4) - 0.055;
            error += std::abs(255 * curve - after.samples[3 * i + c]);
            ++count;
        }
    }
    EXPECT_LT(error / static_cast<double>(count), 2.5);
    EXPECT_TRUE(
        failsWith(runCommand({"inpaint", given("cicp.png"), "-m", given("mask.png"), "-o", path("pq.jpg")}),
                  2, "PQ light goes beyond white"));
    // To PNG both stay as they are, and say what they are.
    EXPECT_EQ(fill(given("cicp.png"), given("mask.png"), "out.png"), "");
    EXPECT_NE(app::findChunk(load("out.png").chunks, "cICP"), nullptr);
    EXPECT_EQ(files(), "out.jpg out.png");
}

struct Rectangle {
    std::uint32_t left, top, width, height;
};

/// The pixels that differ are all those of the rectangle.
void expectChanged(const Image& before, const Image& after, const Rectangle& where) {
    ASSERT_EQ(before.samples.size(), after.samples.size());
    for (std::size_t i = 0; i < before.pixelCount(); ++i) {
        const std::size_t x = i % before.width;
        const std::size_t y = i / before.width;
        const bool inside =
            x >= where.left && x < where.left + where.width && y >= where.top && y < where.top + where.height;
        const bool same = std::memcmp(&before.samples[3 * i], &after.samples[3 * i], 3) == 0;
        ASSERT_EQ(same, !inside) << x << ',' << y;
    }
}

TEST_F(Pictures, AMaskDrawnAsThePictureIsDisplayedIsAppliedSo) {
    // Where the displayed picture's top left corner is stored, by Exif's definition of each orientation.
    enum class Corner { top_left, top_right, bottom_right, bottom_left };
    const Corner corners[] = {Corner::top_left,     Corner::top_right, Corner::bottom_right,
                              Corner::bottom_left,  Corner::top_left,  Corner::bottom_left,
                              Corner::bottom_right, Corner::top_right};
    for (const std::uint32_t height : {20U, 28U}) {  // 28x28 fits either way
        for (unsigned orientation = 1; orientation <= 8; ++orientation) {
            Image image = noise(28, height, 3);
            image.chunks = {app::makeChunk("eXIf", app::makeExif(orientation, {}))};
            save("in.png", app::encodePng(image));
            const bool on_side = orientation >= 5;
            Image mask = blankImage(on_side ? height : 28, on_side ? 28 : height, 1);
            for (std::size_t y = 0; y < 3; ++y) {
                for (std::size_t x = 0; x < 5; ++x) mask.samples[y * mask.width + x] = 255;
            }
            save("mask.png", app::encodePng(mask));
            const std::string said = fill(path("in.png"), path("mask.png"), "out.png");
            EXPECT_EQ(said.find("turned as its Exif orientation " + std::to_string(orientation)) !=
                          std::string::npos,
                      orientation != 1)
                << said;
            const std::uint32_t wide = on_side ? 3 : 5;
            const std::uint32_t high = on_side ? 5 : 3;
            const Corner corner = corners[orientation - 1];
            const bool right = corner == Corner::top_right || corner == Corner::bottom_right;
            const bool bottom = corner == Corner::bottom_left || corner == Corner::bottom_right;
            expectChanged(image, load("out.png"),
                          {right ? 28 - wide : 0, bottom ? height - high : 0, wide, high});
            EXPECT_EQ(app::exifOrientation(app::findChunk(load("out.png").chunks, "eXIf")->data),
                      orientation);

            // Stored as the picture is, and turned alike: the same.
            Image turned = blankImage(28, height, 1);
            for (std::uint32_t y = 0; y < high; ++y) {
                for (std::uint32_t x = 0; x < wide; ++x) {
                    const std::uint32_t at_x = (right ? 28 - wide : 0) + x;
                    const std::uint32_t at_y = (bottom ? height - high : 0) + y;
                    turned.samples[std::size_t{at_y} * 28 + at_x] = 255;
                }
            }
            if (on_side && height != 28) {  // fits the stored picture alone
                save("mask.png", app::encodePng(turned));
                EXPECT_NE(fill(path("in.png"), path("mask.png"), "stored.png").find("as stored"),
                          std::string::npos);
                EXPECT_EQ(load("stored.png").samples, load("out.png").samples);
            }
            turned.chunks = image.chunks;
            save("mask.png", app::encodePng(turned));
            fill(path("in.png"), path("mask.png"), "turned.png");
            EXPECT_EQ(load("turned.png").samples, load("out.png").samples);
        }
    }
}

TEST_F(Pictures, ASquarePhotographOnItsSideIsFilledWhereItsMaskIsDrawn) {
    fill(given("orient_sq.jpg"), given("orient_sq_mask.png"), "out.png");
    const Image before = app::readImage(given("orient_sq.jpg"), kEnough);
    const Image mask = app::readImage(given("orient_sq_mask.png"), kEnough);
    const Image after = load("out.png");
    std::size_t changed = 0;
    for (std::size_t i = 0; i < before.pixelCount(); ++i) {
        if (std::memcmp(&before.samples[3 * i], &after.samples[3 * i], 3) == 0) continue;
        ++changed;
        // Orientation 6: the stored first row is displayed at the right.
        const std::size_t shown_x = before.height - 1 - i / before.width;
        const std::size_t shown_y = i % before.width;
        ASSERT_NE(mask.samples[shown_y * mask.width + shown_x], 0) << i;
    }
    EXPECT_GT(changed, 1000U);
}

}  // namespace
}  // namespace pconv::test
