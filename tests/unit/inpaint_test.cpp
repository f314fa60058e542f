// The inpainting method: what it promises of every picture, and how well it continues what it sees.
#include "pconv/inpaint.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "support/api.h"
#include "support/devices.h"

namespace pconv::test {
namespace {

template <typename T>
constexpr PconvSampleType kSampleType = sizeof(T) == 1   ? PCONV_SAMPLE_TYPE_U8
                                        : sizeof(T) == 2 ? PCONV_SAMPLE_TYPE_U16
                                                         : PCONV_SAMPLE_TYPE_F32;

template <typename T>
struct Picture {
    int64_t width, height;
    int channels;
    std::vector<T> samples;
    std::vector<uint8_t> hole;  // 1 in holes

    Picture(int64_t w, int64_t h, int c)
        : width(w), height(h), channels(c), samples(size(w * h * c)), hole(size(w * h)) {}
    static size_t size(int64_t count) { return static_cast<size_t>(count); }

    T& at(int64_t x, int64_t y, int c = 0) { return samples[size((y * width + x) * channels + c)]; }
    uint8_t& holeAt(int64_t x, int64_t y) { return hole[size(y * width + x)]; }

    void cut(int64_t left, int64_t top, int64_t right, int64_t bottom) {
        for (int64_t y = top; y < bottom; ++y)
            for (int64_t x = left; x < right; ++x) holeAt(x, y) = 1;
    }

    template <typename Colour>
    void paint(const Colour& colour) {
        for (int64_t y = 0; y < height; ++y)
            for (int64_t x = 0; x < width; ++x)
                for (int c = 0; c < channels; ++c) at(x, y, c) = static_cast<T>(colour(x, y, c));
    }

    // Overwrites what the holes hold.
    void poison(T value) {
        for (size_t i = 0; i < samples.size(); ++i)
            if (hole[i / static_cast<size_t>(channels)] != 0) samples[i] = value;
    }

    PconvImage view() {
        PconvImage image = pconvDefaultImage();
        image.pixels = samples.data();
        image.width = width;
        image.height = height;
        image.channels = channels;
        image.sample_type = kSampleType<T>;
        return image;
    }
};

template <typename T>
void fill(PconvDevice device, Picture<T>& picture) {
    const PconvImage image = picture.view();
    check(pconvInpaint(device, &image, picture.hole.data(), nullptr));
}

template <typename T>
Picture<T> noisy(int64_t width, int64_t height, int channels, unsigned seed, double hole_share) {
    Picture<T> picture(width, height, channels);
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    const double scale =
        std::is_floating_point_v<T> ? 1.0 : static_cast<double>(std::numeric_limits<T>::max());
    for (T& sample : picture.samples) sample = static_cast<T>(uniform(random) * scale);
    for (uint8_t& hole : picture.hole) hole = uniform(random) < hole_share ? 1 : 0;
    return picture;
}

template <typename T>
bool isFiniteEverywhere(const std::vector<T>& samples) {
    return std::all_of(samples.begin(), samples.end(),
                       [](T v) { return std::isfinite(static_cast<double>(v)); });
}

// Bits, so that a NaN is itself.
template <typename T>
bool isSame(T a, T b) {
    const auto* from = reinterpret_cast<const unsigned char*>(&a);
    return std::equal(from, from + sizeof a, reinterpret_cast<const unsigned char*>(&b));
}

// Valid samples that differ between two pictures.
template <typename T>
int64_t changed(const Picture<T>& before, const Picture<T>& after) {
    int64_t count = 0;
    for (size_t i = 0; i < before.samples.size(); ++i) {
        const bool valid = before.hole[i / static_cast<size_t>(before.channels)] == 0;
        if (valid && !isSame(before.samples[i], after.samples[i])) ++count;
    }
    return count;
}

PconvDevice cpu() {
    static const OwnedDevice device = openDevice("cpu");
    return device.get();
}

template <typename T>
class InpaintTypes : public ::testing::Test {};
using SampleTypes = ::testing::Types<uint8_t, uint16_t, float>;
TYPED_TEST_SUITE(InpaintTypes, SampleTypes);

TYPED_TEST(InpaintTypes, ValidPixelsKeepTheirBits) {
    for (const int channels : {1, 2, 3}) {
        const auto before = noisy<TypeParam>(61, 47, channels, 5, 0.4);
        auto after = before;
        fill(cpu(), after);
        EXPECT_EQ(changed(before, after), 0) << channels;
        EXPECT_TRUE(isFiniteEverywhere(after.samples));
        EXPECT_NE(before.samples, after.samples);
    }
}

TYPED_TEST(InpaintTypes, APictureWithoutAHoleIsLeftAlone) {
    const auto before = noisy<TypeParam>(20, 10, 3, 6, 0.0);
    auto after = before;
    fill(cpu(), after);
    EXPECT_EQ(before.samples, after.samples);
}

TYPED_TEST(InpaintTypes, APictureThatIsAllHoleBecomesMiddleGray) {
    auto picture = noisy<TypeParam>(20, 10, 3, 7, 1.1);
    fill(cpu(), picture);
    const double gray = std::is_floating_point_v<TypeParam> ? 0.5 : sizeof(TypeParam) == 1 ? 128.0 : 32768.0;
    for (const TypeParam sample : picture.samples) ASSERT_EQ(static_cast<double>(sample), gray);
}

TYPED_TEST(InpaintTypes, WhatAHoleHeldHasNoInfluence) {
    auto low = noisy<TypeParam>(70, 50, 3, 8, 0.3);
    auto high = low;
    low.poison(TypeParam{0});
    high.poison(std::numeric_limits<TypeParam>::has_quiet_NaN ? std::numeric_limits<TypeParam>::quiet_NaN()
                                                              : std::numeric_limits<TypeParam>::max());
    fill(cpu(), low);
    fill(cpu(), high);
    EXPECT_TRUE(std::equal(low.samples.begin(), low.samples.end(), high.samples.begin()));
}

TYPED_TEST(InpaintTypes, OneColourStaysThatColour) {
    const double scale = std::is_floating_point_v<TypeParam>
                             ? 1.0
                             : static_cast<double>(std::numeric_limits<TypeParam>::max());
    Picture<TypeParam> picture(90, 64, 3);
    picture.paint([&](int64_t, int64_t, int c) { return (0.2 + 0.35 * c) * scale; });
    const auto whole = picture;
    picture.cut(20, 10, 70, 60);
    picture.cut(0, 30, 90, 33);
    picture.poison(TypeParam{0});
    fill(cpu(), picture);
    const double allowed = std::is_floating_point_v<TypeParam> ? 1e-5 : 0.0;
    for (size_t i = 0; i < whole.samples.size(); ++i)
        ASSERT_NEAR(static_cast<double>(picture.samples[i]), static_cast<double>(whole.samples[i]), allowed)
            << i;
}

TEST(Inpaint, EverySizeUpTo67) {
    unsigned seed = 1;
    for (int64_t size = 1; size <= 67; ++size)
        for (const int64_t other : {int64_t{1}, int64_t{2}, (size * 7) % 67 + 1, size}) {
            auto before = noisy<float>(size, other, 1 + static_cast<int>(seed % 3), seed, 0.5);
            ++seed;
            before.holeAt(0, 0) = 0;
            auto after = before;
            after.poison(std::numeric_limits<float>::quiet_NaN());
            fill(cpu(), after);
            ASSERT_EQ(changed(before, after), 0) << size << "x" << other;
            for (const float sample : after.samples) {
                ASSERT_GT(sample, -1.0F) << size << "x" << other;
                ASSERT_LT(sample, 2.0F) << size << "x" << other;
            }
        }
}

TEST(Inpaint, OneKnownPixelFillsThePicture) {
    for (const int64_t where : {0, 40, 99}) {
        Picture<uint8_t> picture(100, 71, 3);
        picture.cut(0, 0, 100, 71);
        picture.holeAt(where, where * 70 / 99) = 0;
        for (int c = 0; c < 3; ++c) picture.at(where, where * 70 / 99, c) = static_cast<uint8_t>(40 + 60 * c);
        fill(cpu(), picture);
        for (int64_t y = 0; y < 71; ++y)
            for (int64_t x = 0; x < 100; ++x)
                for (int c = 0; c < 3; ++c) ASSERT_EQ(picture.at(x, y, c), 40 + 60 * c) << x << "," << y;
    }
}

// Four bits more than eight bits could hold.
TEST(Inpaint, SixteenBitsKeepTheirPrecision) {
    Picture<uint16_t> picture(96, 96, 1);
    picture.paint([](int64_t x, int64_t y, int) { return 20000 + 16 * x + 7 * y; });
    auto whole = picture;
    picture.cut(40, 40, 56, 56);
    picture.poison(0);
    fill(cpu(), picture);
    for (int64_t y = 40; y < 56; ++y)
        for (int64_t x = 40; x < 56; ++x) ASSERT_NEAR(picture.at(x, y), whole.at(x, y), 12) << x << "," << y;
}

// Plain diffusion would leave a blur as wide as the scratch here.
TEST(Inpaint, EdgesContinueAcrossAScratch) {
    for (const double slope : {0.0, 0.5, 1.0}) {
        Picture<uint8_t> picture(128, 96, 3);
        const auto edge = [&](int64_t y) { return 60.0 + slope * static_cast<double>(y - 48); };
        picture.paint([&](int64_t x, int64_t y, int c) {
            return (static_cast<double>(x) < edge(y) ? 200 : 60) + 10 * c;
        });
        auto whole = picture;
        picture.cut(0, 44, 128, 52);
        picture.poison(0);
        fill(cpu(), picture);
        for (int64_t y = 44; y < 52; ++y)
            for (int64_t x = 0; x < 128; ++x) {
                if (std::abs(static_cast<double>(x) - edge(y)) <= 4.0) continue;
                ASSERT_NEAR(picture.at(x, y), whole.at(x, y), 14) << slope << ": " << x << "," << y;
            }
    }
}

TEST(Inpaint, StridesLeaveTheRestAlone) {
    const auto plain = noisy<uint16_t>(37, 29, 3, 11, 0.3);
    auto expected = plain;
    fill(cpu(), expected);

    constexpr uint16_t kGuard = 0xBEEF;
    constexpr int64_t kPixel = 5, kRow = 37 * kPixel + 9;
    std::vector<uint16_t> memory(29 * kRow + 20, kGuard);
    std::vector<uint8_t> mask(29 * 50, 0x55);
    for (int64_t y = 0; y < 29; ++y)
        for (int64_t x = 0; x < 37; ++x) {
            const auto pixel = static_cast<size_t>(y * 37 + x);
            // The other polarity too, and any byte but 0 is a 1.
            mask[static_cast<size_t>(y * 50 + x)] =
                static_cast<uint8_t>(plain.hole[pixel] != 0 ? 0 : x % 255 + 1);
            for (size_t c = 0; c < 3; ++c)
                memory[static_cast<size_t>(10 + y * kRow + x * kPixel) + c] = plain.samples[3 * pixel + c];
        }
    PconvImage image = pconvDefaultImage();
    image.pixels = memory.data() + 10;
    image.width = 37;
    image.height = 29;
    image.sample_type = PCONV_SAMPLE_TYPE_U16;
    image.pixel_stride = kPixel;
    image.row_stride = kRow * 2;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.polarity = PCONV_MASK_VALID_IS_ONE;
    options.mask_row_stride = 50;
    check(pconvInpaint(cpu(), &image, mask.data(), &options));

    for (size_t i = 0; i < memory.size(); ++i) {
        const auto at = static_cast<int64_t>(i) - 10;
        const int64_t y = at / kRow, x = at % kRow / kPixel, c = at % kRow % kPixel;
        const bool is_sample = at >= 0 && y < 29 && x < 37 && c < 3;
        const auto sample = static_cast<size_t>((y * 37 + x) * 3 + c);
        ASSERT_EQ(memory[i], is_sample ? expected.samples[sample] : kGuard) << i;
    }
}

TEST(Inpaint, NothingIsLearnedFromPixelsThatAreNotNumbers) {
    Picture<float> picture(60, 40, 3);
    picture.paint([](int64_t, int64_t, int) { return 0.25F; });
    picture.cut(10, 10, 50, 30);
    picture.poison(9.0F);
    picture.at(30, 9, 1) = std::numeric_limits<float>::quiet_NaN();
    picture.at(9, 20, 0) = std::numeric_limits<float>::infinity();
    picture.at(50, 20, 2) = -3e38F;
    const auto before = picture;
    fill(cpu(), picture);
    EXPECT_EQ(changed(before, picture), 0);
    for (int64_t y = 10; y < 30; ++y)
        for (int64_t x = 10; x < 50; ++x)
            for (int c = 0; c < 3; ++c) ASSERT_NEAR(picture.at(x, y, c), 0.25F, 1e-5F);
}

TEST(Inpaint, OnlyPixelsThatAreNotNumbersIsLikeAllHole) {
    Picture<float> picture(5, 4, 1);
    picture.paint([](int64_t, int64_t, int) { return std::numeric_limits<float>::quiet_NaN(); });
    picture.cut(1, 1, 4, 3);
    fill(cpu(), picture);
    EXPECT_EQ(picture.at(2, 2), 0.5F);
    EXPECT_TRUE(std::isnan(picture.at(0, 0)));
}

TEST(Inpaint, TheNumberOfThreadsMakesNoDifference) {
    auto picture = noisy<float>(403, 301, 3, 12, 0.1);
    picture.cut(30, 40, 300, 280);
    std::vector<float> first;
    for (const int threads : {1, 2, 3, 7}) {
        PconvDeviceOptions options = pconvDefaultDeviceOptions();
        options.threads = threads;
        const OwnedDevice device = openDevice("cpu", &options);
        auto filled = picture;
        fill(device.get(), filled);
        if (first.empty()) first = filled.samples;
        EXPECT_EQ(filled.samples, first) << threads << " threads";
    }
}

TEST(Inpaint, EveryDeviceGivesTheSamePicture) {
    auto picture = noisy<uint8_t>(150, 170, 3, 13, 0.2);
    picture.cut(40, 30, 100, 120);
    auto expected = picture;
    fill(cpu(), expected);
    int32_t devices = 0;
    check(pconvGetDeviceCount(&devices));
    for (int32_t d = 0; d < devices; ++d) {
        auto filled = picture;
        fill(sharedDevice(d), filled);
        for (size_t i = 0; i < filled.samples.size(); ++i)
            ASSERT_NEAR(filled.samples[i], expected.samples[i], 1) << "device " << d << " at " << i;
    }
}

struct Progress {
    std::vector<double> calls;
    size_t stop_at = SIZE_MAX;
};

int report(void* user, double done) {
    auto& progress = *static_cast<Progress*>(user);
    progress.calls.push_back(done);
    return progress.calls.size() > progress.stop_at ? 1 : 0;
}

TEST(Inpaint, ProgressRisesToOne) {
    auto picture = noisy<uint8_t>(100, 80, 3, 14, 0.5);
    const PconvImage image = picture.view();
    Progress progress;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.progress = report;
    options.user = &progress;
    check(pconvInpaint(cpu(), &image, picture.hole.data(), &options));
    ASSERT_GT(progress.calls.size(), 10U);
    EXPECT_TRUE(std::is_sorted(progress.calls.begin(), progress.calls.end()));
    EXPECT_GE(progress.calls.front(), 0.0);
    EXPECT_EQ(progress.calls.back(), 1.0);
}

TEST(Inpaint, CancellingLeavesTheImageUntouched) {
    const auto before = noisy<uint8_t>(100, 80, 3, 15, 0.5);
    auto picture = before;
    const PconvImage image = picture.view();
    Progress all;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.progress = report;
    options.user = &all;
    {
        auto other = before;
        const PconvImage view = other.view();
        check(pconvInpaint(cpu(), &view, other.hole.data(), &options));
    }
    for (const size_t stop_at : {size_t{0}, all.calls.size() / 2, all.calls.size() - 1}) {
        Progress progress;
        progress.stop_at = stop_at;
        options.user = &progress;
        EXPECT_FAULT(pconvInpaint(cpu(), &image, picture.hole.data(), &options), PCONV_ERROR_CANCELLED,
                     "callback");
        EXPECT_EQ(progress.calls.size(), stop_at + 1);
        EXPECT_EQ(picture.samples, before.samples);
    }
}

void keepBook(void* user, int64_t bytes) {
    *static_cast<int64_t*>(user) += bytes;
}

TEST(Inpaint, RunningOutOfMemoryAnywhereLeavesTheImageAndLeaksNothing) {
    const auto before = noisy<uint8_t>(60, 40, 3, 16, 0.5);
    int refused = 0;
    for (uint64_t limit = 1; limit < uint64_t{1} << 30; limit += limit / 8 + 64) {
        int64_t balance = 0;
        auto picture = before;
        PconvStatus status = PCONV_SUCCESS;
        {
            PconvDeviceOptions options = pconvDefaultDeviceOptions();
            options.memory_limit = limit;
            options.allocation_callback = keepBook;
            options.user = &balance;
            const OwnedDevice device = openDevice("cpu", &options);
            const PconvImage image = picture.view();
            status = pconvInpaint(device.get(), &image, picture.hole.data(), nullptr);
        }
        EXPECT_EQ(balance, 0);
        if (status == PCONV_SUCCESS) break;
        ASSERT_EQ(status, PCONV_ERROR_OUT_OF_MEMORY) << pconvGetLastError();
        ASSERT_NE(std::string(pconvGetLastError()).find("16 MiB"), std::string::npos) << pconvGetLastError();
        ASSERT_LT(limit, uint64_t{16} << 20);
        ASSERT_EQ(picture.samples, before.samples);
        ++refused;
    }
    EXPECT_GT(refused, 10);
}

TEST(Inpaint, APictureBeyondAllMemoryIsRefused) {
    Picture<uint8_t> picture(2, 2, 1);
    PconvImage image = picture.view();
    image.width = INT32_MAX;
    image.height = INT32_MAX;
    EXPECT_FAULT(pconvInpaint(cpu(), &image, picture.hole.data(), nullptr), PCONV_ERROR_OUT_OF_MEMORY,
                 "pixels");
}

TEST(Inpaint, Misuse) {
    Picture<uint16_t> picture(8, 6, 3);
    const uint8_t* const mask = picture.hole.data();
    const PconvImage good = picture.view();
    const PconvInpaintOptions plain = pconvDefaultInpaintOptions();
    EXPECT_EQ(pconvInpaint(cpu(), &good, mask, &plain), PCONV_SUCCESS);

    EXPECT_INVALID(pconvInpaint(nullptr, &good, mask, &plain), "device is null");
    EXPECT_INVALID(pconvInpaint(cpu(), nullptr, mask, &plain), "image is null");
    EXPECT_INVALID(pconvInpaint(cpu(), &good, nullptr, &plain), "mask is null");

    const auto image = [&](const auto& change, const char* part) {
        PconvImage bad = good;
        change(bad);
        EXPECT_INVALID(pconvInpaint(cpu(), &bad, mask, &plain), part);
    };
    image([](PconvImage& i) { i.struct_size = 0; }, "image->struct_size is 0");
    image([](PconvImage& i) { i.pixels = nullptr; }, "image->pixels is null");
    image([](PconvImage& i) { i.pixels = static_cast<char*>(i.pixels) + 1; }, "not aligned");
    image([](PconvImage& i) { i.width = 0; }, "image->width is 0");
    image([](PconvImage& i) { i.width = -1; }, "image->width is -1");
    image([](PconvImage& i) { i.height = 0; }, "image->height is 0");
    image([](PconvImage& i) { i.height = int64_t{1} << 31; }, "image->height is 2147483648");
    image([](PconvImage& i) { i.channels = 0; }, "image->channels is 0; expected 1 to 4");
    image([](PconvImage& i) { i.channels = 5; }, "image->channels is 5; expected 1 to 4");
    image([](PconvImage& i) { setEnum(i.sample_type, 4); }, "image->sample_type is 4");
    image([](PconvImage& i) { setEnum(i.sample_type, -1); }, "image->sample_type is ");
    image([](PconvImage& i) { i.pixel_stride = 2; }, "image->pixel_stride is 2");
    image([](PconvImage& i) { i.pixel_stride = -2; }, "image->pixel_stride is -2");
    image([](PconvImage& i) { i.pixel_stride = INT64_MIN; }, "image->pixel_stride is -92");
    image([](PconvImage& i) { i.row_stride = 46; }, "image->row_stride is 46");
    image([](PconvImage& i) { i.row_stride = 49; }, "image->row_stride is 49; expected a multiple of 2");
    image([](PconvImage& i) { i.row_stride = -46; }, "image->row_stride is -46");
    image([](PconvImage& i) { i.row_stride = INT64_MIN; }, "image->row_stride is -92");
    image([](PconvImage& i) { setEnum(i.transfer, 2); }, "image->transfer is 2");
    image([](PconvImage& i) { i.value_min = 3.0F; }, "expected a range that rises");
    image([](PconvImage& i) { i.value_max = std::numeric_limits<float>::quiet_NaN(); }, "a range that rises");
    image([](PconvImage& i) { i.value_max = std::numeric_limits<float>::infinity(); }, "a range that rises");
    image([](PconvImage& i) { i.row_stride = INT64_MAX - 1; }, "fits in memory");

    const auto options = [&](const auto& change, const char* part) {
        PconvInpaintOptions bad = plain;
        change(bad);
        EXPECT_INVALID(pconvInpaint(cpu(), &good, mask, &bad), part);
    };
    options([](PconvInpaintOptions& o) { o.struct_size = 1; }, "options->struct_size is 1");
    options([](PconvInpaintOptions& o) { setEnum(o.polarity, 2); }, "options->polarity is 2");
    options([](PconvInpaintOptions& o) { o.mask_row_stride = 7; }, "options->mask_row_stride is 7");
    options([](PconvInpaintOptions& o) { o.mask_row_stride = -7; }, "options->mask_row_stride is -7");
    options([](PconvInpaintOptions& o) { setEnum(o.mask_levels, 3); }, "options->mask_levels is 3");
    options([](PconvInpaintOptions& o) { o.mask_row_stride = INT64_MAX; }, "fits in memory");
}

}  // namespace
}  // namespace pconv::test
