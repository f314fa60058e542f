// What the pictures given to the inpainting method may be: masks with levels, ranges of values, sample types,
// strides, light.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/half.h"
#include "pconv/inpaint.h"
#include "support/api.h"
#include "support/devices.h"

namespace pconv::test {
namespace {

PconvDevice cpu() {
    static const OwnedDevice device = openDevice("cpu");
    return device.get();
}

size_t index(int64_t at) {
    return static_cast<size_t>(at);
}

// A smooth picture with an edge, of one channel, 0 to 1.
constexpr int64_t kWidth = 120, kHeight = 90;
float scene(int64_t x, int64_t y) {
    const float slope = 0.3F + 0.002F * static_cast<float>(x) + 0.001F * static_cast<float>(y);
    return x + y / 2 < 80 ? slope : slope + 0.3F;
}

std::vector<uint8_t> boxMask(int64_t left, int64_t top, int64_t right, int64_t bottom) {
    std::vector<uint8_t> mask(index(kWidth * kHeight));
    for (int64_t y = top; y < bottom; ++y)
        for (int64_t x = left; x < right; ++x) mask[index(y * kWidth + x)] = 255;
    return mask;
}

PconvImage describe(void* pixels, PconvSampleType type, int channels) {
    PconvImage image = pconvDefaultImage();
    image.pixels = pixels;
    image.width = kWidth;
    image.height = kHeight;
    image.channels = channels;
    image.sample_type = type;
    return image;
}

std::vector<float> paint(float low, float high) {
    std::vector<float> picture(index(kWidth * kHeight));
    for (int64_t y = 0; y < kHeight; ++y)
        for (int64_t x = 0; x < kWidth; ++x)
            picture[index(y * kWidth + x)] = low + (high - low) * scene(x, y);
    return picture;
}

// The largest difference in the holes of a mask.
double worst(const std::vector<float>& a, const std::vector<float>& b, const std::vector<uint8_t>& mask) {
    double most = 0.0;
    for (size_t i = 0; i < mask.size(); ++i)
        if (mask[i] != 0)
            most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
    return most;
}

// Any unit and any origin: pascals, kelvins, metres below the sea, light of a sun.
TEST(InpaintRange, AnyUnitGivesTheSameFill) {
    const auto mask = boxMask(30, 20, 70, 60);
    auto expected = paint(0.0F, 1.0F);
    PconvImage image = describe(expected.data(), PCONV_SAMPLE_TYPE_F32, 1);
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    const auto original = paint(0.0F, 1.0F);
    ASSERT_LT(worst(expected, original, mask), 0.35);

    struct Range {
        float low, high;
    };
    for (const Range range :
         {Range{95000.0F, 105000.0F}, Range{60000.0F, 70000.0F}, Range{250.0F, 310.0F},
          Range{-11000.0F, -200.0F}, Range{0.0F, 1e9F}, Range{0.0F, 1e-9F}, Range{-3e35F, 3e35F}}) {
        auto picture = paint(range.low, range.high);
        image = describe(picture.data(), PCONV_SAMPLE_TYPE_F32, 1);
        check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
        const double span = static_cast<double>(range.high) - static_cast<double>(range.low);
        for (size_t i = 0; i < mask.size(); ++i) {
            const double value = (static_cast<double>(picture[i]) - static_cast<double>(range.low)) / span;
            ASSERT_NEAR(value, expected[i], 2e-5) << range.low << " to " << range.high << " at " << i;
        }
    }
}

TEST(InpaintRange, AStatedRangeSaysWhatAnEdgeIs) {
    const auto mask = boxMask(30, 30, 80, 40);
    const auto original = paint(0.0F, 1.0F);
    auto sharp = original;
    PconvImage image = describe(sharp.data(), PCONV_SAMPLE_TYPE_F32, 1);
    image.value_max = 1.0F;
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    auto blurred = original;
    image.pixels = blurred.data();
    image.value_max = 10000.0F;  // of which the picture's edge is no noticeable part
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    const auto mean = [&](const std::vector<float>& filled) {
        double sum = 0.0;
        for (size_t i = 0; i < mask.size(); ++i)
            if (mask[i] != 0) sum += std::abs(static_cast<double>(filled[i] - original[i]));
        return sum;
    };
    EXPECT_LT(mean(sharp), 0.7 * mean(blurred));
}

TEST(InpaintRange, WholeNumbersStayWithinTheStatedRange) {
    std::vector<uint16_t> picture(index(kWidth * kHeight));
    for (size_t i = 0; i < picture.size(); ++i) picture[i] = i % 7 < 3 ? 0 : 1023;
    const auto mask = boxMask(10, 10, 110, 80);
    PconvImage image = describe(picture.data(), PCONV_SAMPLE_TYPE_U16, 1);
    image.value_max = 1023.0F;
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    EXPECT_LE(*std::max_element(picture.begin(), picture.end()), 1023);
    std::fill(picture.begin(), picture.end(), uint16_t{7});
    const std::vector<uint8_t> all(mask.size(), 1);
    check(pconvInpaint(cpu(), &image, all.data(), nullptr));
    EXPECT_EQ(picture[0], 512);
}

TEST(InpaintRange, OneValueStaysThatValue) {
    const auto mask = boxMask(20, 20, 60, 60);
    for (const float value : {0.0F, 101325.0F, -273.15F, 1e-20F, 3e35F, 1.0F}) {
        std::vector<float> picture(index(kWidth * kHeight), value);
        PconvImage image = describe(picture.data(), PCONV_SAMPLE_TYPE_F32, 1);
        check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
        for (const float sample : picture) ASSERT_EQ(sample, value);
    }
}

TEST(InpaintRange, AFewHotPixelsHideNothing) {
    const auto mask = boxMask(30, 20, 70, 60);
    const auto original = paint(0.0F, 1.0F);
    auto expected = original;
    PconvImage image = describe(expected.data(), PCONV_SAMPLE_TYPE_F32, 1);
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    auto picture = original;
    picture[5] = 3e30F;
    picture[index(89 * kWidth)] = -1e30F;
    image.pixels = picture.data();
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    EXPECT_LT(worst(picture, expected, mask), 0.01);
}

TEST(InpaintFormats, HalfSamplesAreFilledAsFloatsAre) {
    const auto mask = boxMask(30, 20, 70, 60);
    for (const float high : {1.0F, 60000.0F}) {
        auto floats = paint(0.0F, high);
        std::vector<uint16_t> halves(floats.size());
        for (size_t i = 0; i < floats.size(); ++i) {
            halves[i] = f16FromFloat(floats[i]);
            floats[i] = floatFromF16(halves[i]);
        }
        const auto before = halves;
        PconvImage image = describe(floats.data(), PCONV_SAMPLE_TYPE_F32, 1);
        check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
        image = describe(halves.data(), PCONV_SAMPLE_TYPE_F16, 1);
        check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
        for (size_t i = 0; i < mask.size(); ++i)
            ASSERT_EQ(halves[i], mask[i] != 0 ? f16FromFloat(floats[i]) : before[i]) << i;
    }
}

// The first three are what they are without a fourth.
TEST(InpaintFormats, AFourthChannelIsFilledForItself) {
    const auto mask = boxMask(30, 20, 70, 60);
    const auto sample = [](size_t i, size_t c) {
        const auto at = static_cast<int64_t>(i);
        return static_cast<uint8_t>(255.0F * 0.9F * scene(at % kWidth, at / kWidth) /
                                    static_cast<float>(c + 1));
    };
    std::vector<uint8_t> four(mask.size() * 4), three(mask.size() * 3), one(mask.size());
    for (size_t i = 0; i < mask.size(); ++i) {
        for (size_t c = 0; c < 4; ++c) four[4 * i + c] = sample(i, c);
        for (size_t c = 0; c < 3; ++c) three[3 * i + c] = sample(i, c);
        one[i] = sample(i, 3);
    }
    PconvImage image = describe(four.data(), PCONV_SAMPLE_TYPE_U8, 4);
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    image = describe(three.data(), PCONV_SAMPLE_TYPE_U8, 3);
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    image = describe(one.data(), PCONV_SAMPLE_TYPE_U8, 1);
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    for (size_t i = 0; i < mask.size(); ++i) {
        for (size_t c = 0; c < 3; ++c) ASSERT_EQ(four[4 * i + c], three[3 * i + c]) << i;
        ASSERT_EQ(four[4 * i + 3], one[i]) << i;
    }
}

TEST(InpaintFormats, NegativeStridesAreThePictureTurned) {
    const auto mask = boxMask(30, 20, 70, 60);
    const auto original = paint(0.0F, 1.0F);
    auto expected = original;
    PconvImage image = describe(expected.data(), PCONV_SAMPLE_TYPE_F32, 1);
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    // In memory the last row comes first, and in each row the last pixel; the mask's rows are turned too.
    std::vector<float> turned(original.size());
    std::vector<uint8_t> turned_mask(mask.size());
    for (int64_t y = 0; y < kHeight; ++y)
        for (int64_t x = 0; x < kWidth; ++x) {
            turned[index((kHeight - 1 - y) * kWidth + kWidth - 1 - x)] = original[index(y * kWidth + x)];
            turned_mask[index((kHeight - 1 - y) * kWidth + x)] = mask[index(y * kWidth + x)];
        }
    image.pixels = turned.data() + turned.size() - 1;
    image.pixel_stride = -1;
    image.row_stride = -kWidth * static_cast<int64_t>(sizeof(float));
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.mask_row_stride = -kWidth;
    check(pconvInpaint(cpu(), &image, turned_mask.data() + (kHeight - 1) * kWidth, &options));
    std::reverse(turned.begin(), turned.end());
    EXPECT_EQ(turned, expected);
}

TEST(InpaintFormats, ABlendIsTheFillOfAllThatIsSelectedInItsShare) {
    const auto original = paint(0.0F, 200.0F);
    std::vector<uint8_t> before(original.size());
    std::transform(original.begin(), original.end(), before.begin(),
                   [](float v) { return static_cast<uint8_t>(v); });
    std::vector<uint8_t> soft(before.size());
    for (int64_t y = 20; y < 60; ++y)
        for (int64_t x = 30; x < 70; ++x) {
            const int64_t inside = std::min({x - 29, 70 - x, y - 19, 60 - y});
            soft[index(y * kWidth + x)] = static_cast<uint8_t>(std::min<int64_t>(255, inside * 25));
        }
    auto filled = before;
    PconvImage image = describe(filled.data(), PCONV_SAMPLE_TYPE_U8, 1);
    check(pconvInpaint(cpu(), &image, soft.data(), nullptr));
    for (const bool hole_is_one : {true, false}) {
        auto blended = before;
        auto mask = soft;
        if (!hole_is_one)
            for (uint8_t& byte : mask) byte = static_cast<uint8_t>(255 - byte);
        PconvInpaintOptions options = pconvDefaultInpaintOptions();
        options.polarity = hole_is_one ? PCONV_MASK_HOLE_IS_ONE : PCONV_MASK_VALID_IS_ONE;
        options.mask_levels = PCONV_MASK_LEVELS_BLEND;
        image.pixels = blended.data();
        check(pconvInpaint(cpu(), &image, mask.data(), &options));
        for (size_t i = 0; i < soft.size(); ++i) {
            const double share = soft[i] / 255.0;
            ASSERT_NEAR(blended[i], before[i] + (filled[i] - before[i]) * share, 1.0) << i;
        }
    }
}

PconvStatus fillByConfidence(std::vector<float>& picture, const std::vector<uint8_t>& known) {
    PconvImage image = describe(picture.data(), PCONV_SAMPLE_TYPE_F32, 1);
    image.value_max = 1.0F;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.polarity = PCONV_MASK_VALID_IS_ONE;
    options.mask_levels = PCONV_MASK_LEVELS_CONFIDENCE;
    return pconvInpaint(cpu(), &image, known.data(), &options);
}

TEST(InpaintConfidence, NoneAndAllIsABinaryMask) {
    const auto mask = boxMask(30, 20, 70, 60);
    auto expected = paint(0.0F, 1.0F);
    PconvImage image = describe(expected.data(), PCONV_SAMPLE_TYPE_F32, 1);
    image.value_max = 1.0F;
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    auto picture = paint(0.0F, 1.0F);
    auto known = mask;
    for (uint8_t& byte : known) byte = static_cast<uint8_t>(255 - byte);
    check(fillByConfidence(picture, known));
    EXPECT_EQ(picture, expected);
}

// A hole that a soft brush erased in a premultiplied picture of 8 bits: towards its middle colours are the
// leftovers of rounding.
TEST(InpaintConfidence, WhatIsHardlyKnownHardlyCounts) {
    const auto original = paint(0.0F, 1.0F);
    std::vector<uint8_t> known(original.size(), 255);
    auto picture = original;
    for (int64_t y = 0; y < kHeight; ++y)
        for (int64_t x = 0; x < kWidth; ++x) {
            const double from_middle = std::hypot(static_cast<double>(x - 30), static_cast<double>(y - 45));
            if (from_middle >= 20.0) continue;
            const double alpha = from_middle < 8.0 ? 0.0 : std::pow((from_middle - 8.0) / 12.0, 3.0);
            const auto byte = static_cast<float>(static_cast<int>(255.0 * alpha));
            known[index(y * kWidth + x)] = static_cast<uint8_t>(byte);
            float& sample = picture[index(y * kWidth + x)];
            sample = byte > 0.0F ? std::round(sample * byte) / byte : 0.0F;
        }
    auto hard = picture;  // the rim taken for known
    auto soft = picture;
    check(fillByConfidence(soft, known));
    auto rim = known;
    for (uint8_t& byte : rim) byte = byte != 0 ? 255 : 0;
    check(fillByConfidence(hard, rim));
    std::vector<uint8_t> erased(known.size());
    for (size_t i = 0; i < known.size(); ++i) erased[i] = known[i] == 0 ? 1 : 0;
    EXPECT_LT(worst(soft, original, erased), 0.08);
    EXPECT_GT(worst(hard, original, erased), 0.2);
}

TEST(InpaintConfidence, ALayerThatIsHalfKnownEverywhereKeepsItsCourse) {
    auto picture = paint(0.0F, 1.0F);
    const auto original = picture;
    std::vector<uint8_t> known(picture.size(), 128);
    for (int64_t y = 40; y < 50; ++y)
        for (int64_t x = 20; x < 30; ++x) known[index(y * kWidth + x)] = 0;
    check(fillByConfidence(picture, known));
    for (int64_t y = 0; y < kHeight; ++y)
        for (int64_t x = 0; x < kWidth; ++x) {
            if (std::abs(x + y / 2 - 80) < 6) continue;  // the edge may soften
            ASSERT_NEAR(picture[index(y * kWidth + x)], original[index(y * kWidth + x)], 0.02)
                << x << "," << y;
        }
}

// Light is mixed as a display's values are: the middle of 0.02 and 0.6 is not 0.31.
TEST(InpaintTransfer, LinearLightIsFilledUnderTheCurve) {
    const auto encode = [](double v) {
        return v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
    };
    const auto mask = boxMask(30, 20, 70, 60);
    auto light = paint(0.02F, 0.6F);
    std::vector<float> code(light.size());
    for (size_t i = 0; i < light.size(); ++i)
        code[i] = static_cast<float>(encode(static_cast<double>(light[i])));
    PconvImage image = describe(light.data(), PCONV_SAMPLE_TYPE_F32, 1);
    image.value_max = 1.0F;
    image.transfer = PCONV_TRANSFER_LINEAR;
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    image.pixels = code.data();
    image.transfer = PCONV_TRANSFER_AS_STORED;
    check(pconvInpaint(cpu(), &image, mask.data(), nullptr));
    for (size_t i = 0; i < light.size(); ++i)
        ASSERT_NEAR(encode(static_cast<double>(light[i])), static_cast<double>(code[i]), 2e-5) << i;
}

}  // namespace
}  // namespace pconv::test
