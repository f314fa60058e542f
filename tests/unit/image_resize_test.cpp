// Pictures scaled for classifiers, against PIL's bilinear filter on floating-point pixels (Pillow 9.4).
#include <gtest/gtest.h>

#include "image/exif.h"
#include "image/png_chunks.h"
#include "image/resize.h"

namespace pconv::test {
namespace {

using app::Image;

/// Pixels of 37 x + 53 y, modulo 256; the second plane is 255 minus that, the third half of it.
Image draw(std::uint32_t width, std::uint32_t height, unsigned channels) {
    Image image;
    image.width = width;
    image.height = height;
    image.channels = channels;
    for (std::uint32_t y = 0; y < height; ++y)
        for (std::uint32_t x = 0; x < width; ++x) {
            const auto value = static_cast<std::uint8_t>(37 * x + 53 * y);
            const std::uint8_t all[] = {value, static_cast<std::uint8_t>(255 - value),
                                        static_cast<std::uint8_t>(value / 2), 7};
            image.samples.insert(image.samples.end(), all, all + channels);
        }
    return image;
}

void expectPlane(const std::vector<float>& planes, std::size_t plane, const std::vector<float>& expected) {
    for (std::size_t i = 0; i < expected.size(); ++i)
        EXPECT_NEAR(planes[plane * expected.size() + i], expected[i], 2e-6F) << plane << ": " << i;
}

// PIL: 7x5 to 4x3, of whose columns 0 to 2 are the middle (0.5 rounds to the even number).
TEST(ImageResize, ShrinksAsPil) {
    const std::vector<float> expected = {0.165079F, 0.39088F,  0.65786F,  0.49169F, 0.655024F,
                                         0.64983F,  0.790983F, 0.464695F, 0.30716F};
    const auto gray = scaledMiddle(draw(7, 5, 1), 3, 3);
    for (std::size_t plane = 0; plane < 3; ++plane) expectPlane(gray, plane, expected);
    const auto colours = scaledMiddle(draw(7, 5, 4), 3, 3);
    expectPlane(colours, 0, expected);
    std::vector<float> inverse;
    for (const float value : expected) inverse.push_back(1 - value);
    expectPlane(colours, 1, inverse);
}

// PIL: 7x5 to 11x8; the middle 2x2 are columns 4 and 5 of rows 3 and 4.
TEST(ImageResize, EnlargesAsPil) {
    expectPlane(scaledMiddle(draw(7, 5, 3), 8, 2), 0, {0.693694F, 0.786029F, 0.709514F, 0.602206F});
}

// Stored on its side, a picture is scaled as it is displayed.
TEST(ImageResize, TurnsAsThePictureIsDisplayed) {
    const Image upright = draw(7, 5, 3);
    Image stored = upright;
    stored.width = 5;
    stored.height = 7;
    for (std::uint32_t y = 0; y < 5; ++y)
        for (std::uint32_t x = 0; x < 7; ++x)
            for (unsigned c = 0; c < 3; ++c)
                stored.samples[(x * 5 + 4 - y) * 3 + c] = upright.samples[(y * 7 + x) * 3 + c];
    stored.chunks = {app::makeChunk("eXIf", app::makeExif(8, {}))};
    EXPECT_EQ(scaledMiddle(stored, 3, 3), scaledMiddle(upright, 3, 3));
}

}  // namespace
}  // namespace pconv::test
