// `pconv inpaint` of several pictures and folders, and of pictures that are no files.
#include <algorithm>

#include "command.h"
#include "image/io.h"

namespace pconv::test {
namespace {

namespace fs = std::filesystem;
using app::Bytes;
using app::Image;

Image gray(std::uint32_t width, std::uint32_t height, std::uint8_t value) {
    Image image;
    image.width = width;
    image.height = height;
    image.channels = 3;
    image.samples.assign(image.rowBytes() * height, value);
    return image;
}

class ManyPictures : public CommandTest {
  protected:
    void SetUp() override {
        CommandTest::SetUp();
        for (const char* folder : {"in", "masks", "out"}) fs::create_directory(path(folder));
    }
    void save(const std::string& name, const Image& image, bool jpeg = false) const {
        const Bytes bytes = jpeg ? app::encodeJpeg(image) : app::encodePng(image);
        write(name, std::string(bytes.begin(), bytes.end()));
    }
    Image load(const std::string& name) const { return app::readImage(path(name), 1 << 20); }
    /// A mask with one white column.
    static Image maskAt(std::uint32_t column) {
        Image mask = gray(24, 16, 0);
        for (std::size_t y = 0; y < 16; ++y)
            for (std::size_t c = 0; c < 3; ++c) mask.samples[(y * 24 + column) * 3 + c] = 255;
        return mask;
    }
    /// Gray with black where the mask is white: what is still black was not filled.
    static Image damagedAt(std::uint32_t column) {
        Image image = gray(24, 16, 200);
        const Image mask = maskAt(column);
        for (std::size_t i = 0; i < image.samples.size(); ++i)
            if (mask.samples[i] != 0) image.samples[i] = 0;
        return image;
    }
    bool isFilled(const std::string& name) const {
        const Image image = load(name);
        for (const std::uint8_t sample : image.samples)
            if (sample < 195 || sample > 205) return false;
        return image.width == 24 && image.height == 16;
    }
    std::string filesIn(const std::string& folder) const {
        return runShell("cd " + folder + " && echo $(ls -A)").out;
    }
    static constexpr const char* kInpaint = "\"$pconv\" inpaint ";
};

TEST_F(ManyPictures, MasksOfAFolderAreMatchedByName) {
    save("in/a.png", damagedAt(3));
    save("in/b.jpg", damagedAt(9), true);
    save("in/c.d.png", damagedAt(15));
    save("masks/a.jpg", maskAt(3), true);
    save("masks/b.png", maskAt(9));
    save("masks/c.d.png", maskAt(15));
    save("masks/c.png", maskAt(1));
    write("in/readme.txt", "not a picture");
    write("in/.hidden.png", "nor this");
    ASSERT_TRUE(succeeds(runShell(std::string(kInpaint) + "in --mask-dir masks --output-dir out")));
    EXPECT_EQ(filesIn("out"), "a.png b.jpg c.d.png\n");
    for (const char* name : {"out/a.png", "out/c.d.png"}) EXPECT_TRUE(isFilled(name)) << name;
    const Outcome again = runShell(std::string(kInpaint) +
                                   "in/b.jpg in/a.png --mask-dir masks/ --format png --output-dir out/new");
    ASSERT_TRUE(succeeds(again));
    EXPECT_EQ(filesIn("out/new"), "a.png b.png\n");
    EXPECT_EQ(load("out/new/b.png").format, app::ImageFormat::png);
}

TEST_F(ManyPictures, WhatIsTransparentInTheMaskIsTheHole) {
    save("in/a.png", damagedAt(3));
    Image mask =
        damagedAt(3);  // as services send it: the picture itself, transparent where it is to be filled
    mask.channels = 4;
    mask.samples.clear();
    for (std::size_t i = 0; i < mask.pixelCount(); ++i)
        for (const int sample : {200, 200, 200, i % 24 == 3 ? 0 : 255})
            mask.samples.push_back(static_cast<std::uint8_t>(sample));
    save("masks/a.png", mask);
    ASSERT_TRUE(succeeds(
        runShell(std::string(kInpaint) + "in --mask-dir masks --hole transparent --output-dir out")));
    EXPECT_TRUE(isFilled("out/a.png"));
    save("masks/a.png", maskAt(3));
    EXPECT_TRUE(failsWith(
        runShell(std::string(kInpaint) + "in/a.png -m masks/a.png --hole transparent -o out/b.png"), 2,
        "the mask 'masks/a.png' has no transparent pixels; expected those, or --hole white or black"));
}

TEST_F(ManyPictures, OneMaskIsForAllAndMayComeThroughAPipe) {
    save("in/a.png", damagedAt(3));
    save("in/b.png", damagedAt(3));
    save("mask.png", maskAt(3));
    ASSERT_TRUE(
        succeeds(runShell("cat mask.png | " + std::string(kInpaint) + "in/*.png -m - --output-dir out")));
    EXPECT_TRUE(isFilled("out/a.png"));
    EXPECT_TRUE(isFilled("out/b.png"));
}

TEST_F(ManyPictures, AFaultIsALineAndTheOthersAreDone) {
    save("in/a.png", damagedAt(3));
    write("in/b.png", "not a picture");
    save("in/c.png", gray(5, 5, 9));
    save("in/d.png", damagedAt(3));
    save("in/e.png", damagedAt(3));
    save("mask.png", maskAt(3));
    for (const char* name : {"a.png", "b.png", "c.png", "e.jpg", "e.png"})
        save(std::string("masks/") + name, maskAt(3));
    write("out/b.png", "older");
    Outcome outcome = runShell(std::string(kInpaint) + "in -m mask.png --output-dir out");
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 2) << outcome.err;
    EXPECT_NE(outcome.err.find("pconv: cannot read 'in/b.png': not a picture of a known kind"),
              std::string::npos)
        << outcome.err;
    EXPECT_NE(outcome.err.find("24x16 pixels; expected 5x5"), std::string::npos) << outcome.err;
    EXPECT_NE(outcome.err.find("'in/c.png'"), std::string::npos) << outcome.err;
    EXPECT_EQ(filesIn("out"), "a.png b.png d.png e.png\n");
    EXPECT_EQ(read("out/b.png"), "older");
    EXPECT_TRUE(isFilled("out/d.png"));

    outcome = runShell(std::string(kInpaint) +
                       "in/a.png in/d.png in/e.png in/f.png --mask-dir masks --output-dir two");
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_NE(outcome.err.find("no mask for 'in/d.png' in 'masks'; expected a picture called 'd'"),
              std::string::npos);
    EXPECT_NE(outcome.err.find("'in/f.png'"), std::string::npos);
    EXPECT_EQ(filesIn("two"), "a.png e.png\n") << "e.png has the mask of its very name";

    // The exit code is the fault's.
    outcome = runShell("rm in/[bc].png; ln -sf /dev/full out/d.png; " + std::string(kInpaint) +
                       "in -m mask.png --output-dir out");
    EXPECT_EQ(outcome.exit_code, 1);
    EXPECT_NE(outcome.err.find("out/d.png': No space left"), std::string::npos) << outcome.err;
}

TEST_F(ManyPictures, ArgumentsThatDoNotFitAreRefusedBeforeAnythingIsDone) {
    save("in/a.png", damagedAt(3));
    save("in/b.png", damagedAt(3));
    save("a.png", damagedAt(3));
    save("mask.png", maskAt(3));
    const auto refuses = [&](const std::string& arguments, const std::string& part, int code = 2) {
        return failsWith(runShell(kInpaint + arguments), code, part);
    };
    EXPECT_TRUE(refuses("a.png", "--output is required, or --output-dir"));
    EXPECT_TRUE(refuses("a.png '' -m mask.png --output-dir out", "an empty name"));
    EXPECT_TRUE(refuses("a.png -m '' -o x.png", "an empty name"));
    EXPECT_TRUE(refuses("in/a.png in/b.png -m mask.png -o x.png", "'in/b.png' is a second picture"));
    EXPECT_TRUE(refuses("in -m mask.png -o x.png", "'in': it is a folder"));
    EXPECT_TRUE(refuses("a.png -m mask.png -o x.png --output-dir out", "both given"));
    EXPECT_TRUE(refuses("a.png -m mask.png --mask-dir masks -o x.png", "both given"));
    EXPECT_TRUE(
        refuses("in --mask-dir mask.png --output-dir out", "--mask-dir is 'mask.png'; expected a folder"));
    EXPECT_TRUE(refuses("masks -m mask.png --output-dir out", "no picture in the folder 'masks'"));
    EXPECT_TRUE(
        refuses("a.png in -m mask.png --output-dir out", "two pictures would be written to 'out/a.png'"));
    EXPECT_TRUE(refuses("in -m mask.png --output-dir in", "'in/a.png' would be written over"));
    EXPECT_TRUE(
        refuses("in --mask-dir out --output-dir mask.png", "--output-dir is 'mask.png'; expected a folder"));
    EXPECT_TRUE(
        refuses("in -m mask.png --output-dir none/out", "cannot make the folder 'none/out': No such", 1));
    EXPECT_TRUE(refuses("- -m mask.png --output-dir out < a.png", "no name for --output-dir"));
    EXPECT_TRUE(refuses("- -m - -o x.png < a.png", "more than one input is the standard input"));
    EXPECT_TRUE(refuses("/dev/stdin -m - -o x.png < a.png", "more than one input is the standard input"));
    EXPECT_TRUE(refuses("a.png -m mask.png -o x.png --format jpeg", "asks for another format than --format"));
    EXPECT_TRUE(refuses("a.png -m mask.png -o x --format bmp", "'bmp'"));
    EXPECT_TRUE(refuses("a.png -m mask.png -o x.bmp", "x.bmp"));
    EXPECT_TRUE(refuses("a.png -m mask.png -o none/x.png", "cannot write 'none/x.png': No such file", 1));
    EXPECT_EQ(filesIn("out"), "\n");
    EXPECT_EQ(files(), "a.png in mask.png masks out");
}

TEST_F(ManyPictures, GoThroughPipesInAnyFormat) {
    save("a.png", damagedAt(3));
    save("a.jpg", damagedAt(8), true);
    save("mask.png", maskAt(3));
    const std::string inpaint = kInpaint;
    ASSERT_TRUE(succeeds(runShell(inpaint + "a.png -m mask.png -o expected.png")));
    const std::vector<std::string> scripts = {
        "cat a.png | " + inpaint + "- -m mask.png -o - > o",
        inpaint + "a.png -m - -o - < mask.png | cat > o",
        inpaint + "<(cat a.png) -m <(cat mask.png) -o /dev/stdout > o",
        inpaint + "a.png -m mask.png -o o",
        inpaint + "a.png -m mask.png -o o.part --format PNG; mv o.part o",
        inpaint + "a.png -m mask.png -o /proc/self/fd/5 5> o",
        "mkfifo p; cat p > o & " + inpaint + "a.png -m mask.png -o p; wait; rm p",
    };
    for (const std::string& script : scripts) {
        EXPECT_TRUE(succeeds(runShell(script))) << script;
        EXPECT_EQ(read("o"), read("expected.png")) << script;
        fs::remove(path("o"));
    }
    write("log", "kept ");
    ASSERT_TRUE(succeeds(runShell(inpaint + "a.png -m mask.png -o /dev/stdout >> log")));
    EXPECT_EQ(read("log"), "kept " + read("expected.png"));
    // What comes as a JPEG goes as one, unless told otherwise.
    ASSERT_TRUE(succeeds(runShell(inpaint + "- -m mask.png -o - < a.jpg > o")));
    EXPECT_EQ(load("o").format, app::ImageFormat::jpeg);
    ASSERT_TRUE(succeeds(runShell(inpaint + "- -m mask.png -o - --format png < a.jpg > o")));
    EXPECT_EQ(load("o").format, app::ImageFormat::png);
    // Notes leave the picture alone.
    const Outcome noted =
        runShell("cp mask.png black.png; " + inpaint + "mask.png -m <(cat black.png) --hole black -o - > o");
    EXPECT_EQ(noted.exit_code, 0) << noted.err;
    EXPECT_EQ(load("o").width, 24U);
}

TEST_F(ManyPictures, FaultsOfPipesLeaveNothing) {
    save("a.png", damagedAt(3));
    save("mask.png", maskAt(3));
    const std::string inpaint = kInpaint;
    EXPECT_TRUE(failsWith(runShell("head -c 99 a.png | " + inpaint + "- -m mask.png -o x.png"), 2,
                          "cannot read the standard input: "));
    EXPECT_TRUE(failsWith(runShell(inpaint + "- -m mask.png -o x.png < /dev/null"), 2,
                          "the standard input: the file is empty"));
    EXPECT_TRUE(failsWith(runShell(inpaint + "a.png -m - -o x.png < /dev/zero"), 2,
                          "the standard input: not a picture of a known kind"));
    EXPECT_TRUE(failsWith(runShell(inpaint + "a.png -m mask.png -o - > /dev/full"), 1,
                          "to the standard output: No space"));
    EXPECT_TRUE(
        failsWith(runShell(inpaint + "a.png -m mask.png -o - >&-"), 1, "to the standard output: Bad file"));
    EXPECT_EQ(files(), "a.png in mask.png masks out");
}

}  // namespace
}  // namespace pconv::test
