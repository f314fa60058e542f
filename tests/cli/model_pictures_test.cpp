// `pconv inpaint --model` and `pconv classify`: pictures through networks.
#include <cmath>
#include <cstring>

#include "command.h"
#include "image/io.h"
#include "support/images.h"
#include "support/png_forms.h"
#include "support/small_model.h"

namespace pconv::test {
namespace {

using app::Image;

constexpr std::uint64_t kEnough = 100'000'000;

void setLevel(Image& image, std::size_t index, double level) {
    setSample(image, index, static_cast<unsigned>(std::lround(level * image.maximum())));
}

/// A soft slope, and an alpha that is nowhere full.
double levelAt(const Image& image, std::size_t index) {
    const std::size_t pixel = index / image.channels;
    const unsigned c = static_cast<unsigned>(index % image.channels);
    if (image.hasAlpha() && c == image.channels - 1) return 0.8;
    return 0.3 + 0.002 * static_cast<double>(pixel % image.width) +
           0.001 * static_cast<double>(pixel / image.width) + 0.05 * c;
}

bool inHole(const Image& image, std::size_t pixel) {
    const std::size_t x = pixel % image.width;
    const std::size_t y = pixel / image.width;
    return x >= 20 && x < 27 && y >= 5 && y < image.height - 5;
}

class ModelPictures : public CommandTest {
  protected:
    void SetUp() override {
        CommandTest::SetUp();
        writeSmallModel(path("fill.safetensors"));
        writeSmallClassifier(path("class.safetensors"));
    }

    void save(const std::string& name, const Image& image) const {
        const app::Bytes bytes = app::encodePng(image);
        write(name, std::string(bytes.begin(), bytes.end()));
    }
    Image load(const std::string& name) const { return app::readImage(path(name), kEnough); }

    /// A picture and its mask, in.png and mask.png; black in the hole.
    Image draw(std::uint32_t width, std::uint32_t height, unsigned channels, unsigned depth) const {
        Image image = blankImage(width, height, channels, depth);
        Image mask = blankImage(width, height, 1, 8);
        for (std::size_t i = 0; i < image.pixelCount() * channels; ++i)
            setLevel(image, i, inHole(image, i / channels) ? 0 : levelAt(image, i));
        for (std::size_t i = 0; i < mask.pixelCount(); ++i) mask.samples[i] = inHole(mask, i) ? 255 : 0;
        save("in.png", image);
        save("mask.png", mask);
        return image;
    }

    Outcome fill(const std::vector<std::string>& more = {}) const {
        std::vector<std::string> arguments = {"inpaint", path("in.png"),           "--mask", path("mask.png"),
                                              "--model", path("fill.safetensors"), "-o",     path("out.png")};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return runCommand(arguments);
    }
};

class ModelPictureForms : public ModelPictures, public ::testing::WithParamInterface<PngForm> {};

TEST_P(ModelPictureForms, FillsTheHoleAndNothingElse) {
    const Image before = draw(51, 43, GetParam().channels, GetParam().depth);
    ASSERT_TRUE(succeeds(fill()));
    const Image after = load("out.png");
    ASSERT_EQ(after.depth, before.depth);
    ASSERT_EQ(after.channels, before.channels);
    const double unit = 1.0 / before.maximum();
    for (std::size_t i = 0; i < before.pixelCount() * before.channels; ++i) {
        if (inHole(before, i / before.channels))
            ASSERT_NEAR(after.level(i), levelAt(before, i), 0.02 + 1.1 * unit) << i;
        else
            ASSERT_EQ(after.level(i), before.level(i)) << i;
    }
}

INSTANTIATE_TEST_SUITE_P(All, ModelPictureForms, allPngForms(), nameOfPngForm);

TEST_F(ModelPictures, TilesMakeWhatTheWholeMakes) {
    const Image before = draw(60, 300, 3, 16);
    ASSERT_TRUE(succeeds(fill({"--tile", "300"})));
    const Image whole = load("out.png");
    ASSERT_TRUE(succeeds(fill({"--tile", "64"})));
    const Image tiled = load("out.png");
    EXPECT_NE(tiled.samples, whole.samples);  // they were tiles
    for (std::size_t i = 0; i < before.pixelCount() * 3; ++i)
        ASSERT_NEAR(tiled.level(i), whole.level(i), 0.5 / 255) << i;
}

TEST_F(ModelPictures, DeviceMemoryIsKept) {
    draw(400, 300, 3, 8);
    EXPECT_TRUE(failsWith(fill({"--device-memory", "1"}), 1, "exceeds the device's memory limit"));
    EXPECT_TRUE(succeeds(fill({"--device-memory", "1", "--tile", "32"})));
    const Outcome without_model = runCommand({"inpaint", path("in.png"), "--mask", path("mask.png"), "-o",
                                              path("out.png"), "--device-memory", "16"});
    EXPECT_TRUE(succeeds(without_model));
}

TEST_F(ModelPictures, FoldersArePossible) {
    draw(40, 40, 3, 8);
    ASSERT_TRUE(runShell("mkdir a && cp in.png a/x.png && cp in.png a/y.png").exit_code == 0);
    EXPECT_TRUE(succeeds(runCommand({"inpaint", path("a"), "--mask", path("mask.png"), "--model",
                                     path("fill.safetensors"), "--output-dir", path("b")})));
    ASSERT_TRUE(succeeds(fill()));
    EXPECT_EQ(load("b/x.png").samples, load("out.png").samples);
    EXPECT_EQ(load("b/y.png").samples, load("out.png").samples);
}

TEST_F(ModelPictures, WhatDoesNotFitIsNamed) {
    draw(40, 40, 3, 8);
    const std::string before = files();
    const auto with = [&](const std::string& model, const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"inpaint",        path("in.png"), "--mask",
                                              path("mask.png"), "-o",           path("out.png")};
        if (!model.empty()) arguments.insert(arguments.end(), {"--model", path(model)});
        arguments.insert(arguments.end(), more.begin(), more.end());
        return runCommand(arguments);
    };
    EXPECT_TRUE(failsWith(with("", {"--tile", "64"}), 2, "--tile is given without --model"));
    EXPECT_TRUE(failsWith(with("", {"--math", "fast"}), 2, "--math is given without --model"));
    EXPECT_TRUE(failsWith(with("fill.safetensors", {"--math", "slow"}), 2, "--math"));
    EXPECT_TRUE(failsWith(with("", {"--device-memory", "0"}), 2, "--device-memory"));
    EXPECT_TRUE(failsWith(with("fill.safetensors", {"--tile", "0"}), 2, "--tile"));
    EXPECT_TRUE(failsWith(with("absent.safetensors"), 2, "absent.safetensors"));
    EXPECT_TRUE(failsWith(with("in.png"), 2, "in.png"));
    EXPECT_TRUE(
        failsWith(with("class.safetensors"), 2, "classifies pictures; expected a model that fills them"));
    const std::string model = read("fill.safetensors");
    for (const std::size_t size : {std::size_t{0}, std::size_t{7}, std::size_t{200}, model.size() - 1}) {
        write("fill.safetensors", model.substr(0, size));
        EXPECT_TRUE(failsWith(with("fill.safetensors"), 2, "fill.safetensors")) << size;
    }
    EXPECT_EQ(files(), before);
}

/// 4:3, with a red middle of 60 columns, and blue beside it.
Image drawRed(unsigned depth) {
    Image image = blankImage(80, 60, 3, depth);
    for (std::size_t i = 0; i < image.pixelCount(); ++i) {
        const std::size_t x = i % 80;
        setLevel(image, 3 * i + (x >= 10 && x < 70 ? 0 : 2), 1);
    }
    return image;
}

// The red of the middle is 2 deviations above the mean: the shares are those of the exponentials of -2, 0, 1,
// 0.5, 2 and -1.
TEST_F(ModelPictures, ClassesAreListedByTheirProbability) {
    for (const unsigned depth : {8U, 16U}) {
        save("red.png", drawRed(depth));
        const Outcome plain = runCommand({"classify", path("red.png"), "--model", path("class.safetensors"),
                                          "--math", depth == 8 ? "exact" : "fast"});
        EXPECT_EQ(plain.exit_code, 0) << plain.err;
        EXPECT_EQ(plain.out,
                  "class  probability\n    4       55.73%\n    2       20.50%\n    3       12.43%\n"
                  "    1        7.54%\n    5        2.77%\n");
    }
    write("labels.txt", "dark blue\nblue\nviolet\nmagenta\r\nred\ngreen\n");
    const Outcome labelled = runCommand(
        {"classify", path("red.png"), "--model", path("class.safetensors"), "--labels", path("labels.txt")});
    EXPECT_EQ(labelled.out.substr(0, labelled.out.find('\n', 30)),
              "class  probability  label\n    4       55.73%  red");
    EXPECT_NE(labelled.out.find("12.43%  magenta\n"), std::string::npos) << labelled.out;
}

TEST_F(ModelPictures, WhatCannotBeClassifiedIsNamed) {
    save("red.png", drawRed(8));
    const auto classify = [&](const std::string& picture, const std::string& model,
                              const std::vector<std::string>& more = {}) {
        std::vector<std::string> arguments = {"classify", path(picture), "--model", path(model)};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return runCommand(arguments);
    };
    EXPECT_TRUE(
        failsWith(classify("red.png", "fill.safetensors"), 2, "expected a model that classifies them"));
    EXPECT_TRUE(failsWith(classify("absent.png", "class.safetensors"), 2, "absent.png"));
    EXPECT_TRUE(failsWith(classify("class.safetensors", "class.safetensors"), 2, "class.safetensors"));
    write("labels.txt", "one\ntwo\n");
    EXPECT_TRUE(failsWith(classify("red.png", "class.safetensors", {"--labels", path("labels.txt")}), 2,
                          "has 2 lines; expected one for each of 6 classes"));
    EXPECT_TRUE(failsWith(runCommand({"classify", path("red.png")}), 2, "--model"));
}

}  // namespace
}  // namespace pconv::test
