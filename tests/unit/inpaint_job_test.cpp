// Inpainters, which fill one picture after another, their jobs and previews.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <thread>
#include <vector>

#include "pconv/inpaint.h"
#include "support/api.h"
#include "support/devices.h"

namespace pconv::test {
namespace {

constexpr int64_t kWidth = 700, kHeight = 500;

size_t index(int64_t at) {
    return static_cast<size_t>(at);
}

struct Shot {
    std::vector<uint8_t> pixels = std::vector<uint8_t>(index(kWidth * kHeight * 3));
    std::vector<uint8_t> mask = std::vector<uint8_t>(index(kWidth * kHeight));

    Shot() {
        for (int64_t y = 0; y < kHeight; ++y)
            for (int64_t x = 0; x < kWidth; ++x)
                for (int64_t c = 0; c < 3; ++c)
                    pixels[index((y * kWidth + x) * 3 + c)] = static_cast<uint8_t>(
                        120.0 + 50.0 * std::sin(0.012 * static_cast<double>(x) + static_cast<double>(c)) +
                        30.0 * std::sin(0.02 * static_cast<double>(y)));
    }
    void cut(int64_t left, int64_t top, int64_t right, int64_t bottom) {
        for (int64_t y = top; y < bottom; ++y)
            for (int64_t x = left; x < right; ++x) mask[index(y * kWidth + x)] = 1;
    }
    PconvImage view() {
        PconvImage image = pconvDefaultImage();
        image.pixels = pixels.data();
        image.width = kWidth;
        image.height = kHeight;
        return image;
    }
};

struct Inpainter {
    PconvInpainter handle = nullptr;
    explicit Inpainter(PconvDevice device) { check(pconvCreateInpainter(device, &handle)); }
    Inpainter(const Inpainter&) = delete;
    Inpainter& operator=(const Inpainter&) = delete;
    ~Inpainter() { pconvReleaseInpainter(handle); }
};

void count(void* user, int64_t bytes) {
    if (bytes > 0) ++*static_cast<int*>(user);
}

TEST(Inpainter, StrokesAfterTheFirstAllocateNoDeviceMemoryAndAreWhatOneCallGives) {
    int allocations = 0;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.allocation_callback = count;
    options.user = &allocations;
    const OwnedDevice device = openDevice("cpu", &options);
    const Inpainter inpainter(device.get());
    for (int64_t stroke = 0; stroke < 4; ++stroke) {
        Shot kept;
        kept.cut(100 + 90 * stroke, 60 + 70 * stroke, 180 + 90 * stroke, 75 + 90 * stroke);
        Shot once = kept;
        PconvImage image = kept.view();
        const int before = allocations;
        check(pconvRunInpainter(inpainter.handle, &image, kept.mask.data(), nullptr));
        if (stroke > 0) {
            EXPECT_EQ(allocations, before) << stroke;
        }
        image = once.view();
        check(pconvInpaint(device.get(), &image, once.mask.data(), nullptr));
        EXPECT_EQ(kept.pixels, once.pixels) << stroke;
    }
}

TEST(Inpainter, AJobGivesWhatTheCallGives) {
    OwnedDevice device = openDevice("cpu");
    Shot called;
    called.cut(200, 100, 300, 260);
    Shot started = called;
    PconvImage image = called.view();
    check(pconvInpaint(device.get(), &image, called.mask.data(), nullptr));
    PconvInpaintJob job = nullptr;
    {
        const Inpainter inpainter(device.get());
        image = started.view();
        check(pconvStartInpainter(inpainter.handle, &image, started.mask.data(), nullptr, &job));
        image = pconvDefaultImage();  // a copy was taken
    }
    device.reset();  // kept alive by the job
    double last = 0.0;
    for (int32_t finished = 0; finished == 0;) {
        double done = 0.0;
        check(pconvGetInpaintProgress(job, &done, &finished));
        EXPECT_GE(done, last);
        last = done;
        std::this_thread::yield();
    }
    EXPECT_EQ(last, 1.0);
    check(pconvWaitInpaint(job));
    check(pconvWaitInpaint(job));
    pconvReleaseInpaintJob(job);
    EXPECT_EQ(started.pixels, called.pixels);
}

TEST(Inpainter, ACancelledJobLeavesTheImageUntouched) {
    const OwnedDevice device = openDevice("cpu");
    const Inpainter inpainter(device.get());
    Shot shot;
    shot.cut(20, 20, 680, 480);
    const Shot before = shot;
    const PconvImage image = shot.view();
    PconvInpaintJob job = nullptr;
    check(pconvStartInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, &job));
    check(pconvCancelInpaint(job));
    EXPECT_FAULT(pconvWaitInpaint(job), PCONV_ERROR_CANCELLED, "asked to stop");
    pconvReleaseInpaintJob(job);
    EXPECT_EQ(shot.pixels, before.pixels);
    // Released in the middle, and the inpainter works on.
    check(pconvStartInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, &job));
    double done = 0.0;
    while (done == 0.0) check(pconvGetInpaintProgress(job, &done, nullptr));
    pconvReleaseInpaintJob(job);
    check(pconvRunInpainter(inpainter.handle, &image, shot.mask.data(), nullptr));
    EXPECT_NE(shot.pixels, before.pixels);
}

TEST(Inpainter, APreviewIsTheFilledPictureReduced) {
    const OwnedDevice device = openDevice("cpu");
    const Inpainter inpainter(device.get());
    Shot shot;
    shot.cut(300, 200, 330, 260);
    for (size_t i = 0; i < shot.mask.size(); ++i)
        if (shot.mask[i] != 0) shot.pixels[3 * i] = 255;
    const Shot before = shot;
    PconvImage image = shot.view();
    for (const int64_t step : {1, 4, 7}) {
        const int64_t width = (kWidth + step - 1) / step;
        const int64_t height = (kHeight + step - 1) / step;
        std::vector<uint8_t> reduced(index(width * height * 3), 1);
        PconvImage preview = pconvDefaultImage();
        preview.pixels = reduced.data();
        preview.width = width;
        preview.height = height;
        check(pconvPreviewInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, &preview));
        EXPECT_EQ(shot.pixels, before.pixels);
        Shot filled = before;
        const PconvImage whole = filled.view();
        check(pconvInpaint(device.get(), &whole, filled.mask.data(), nullptr));
        for (int64_t y = 0; y < height; ++y)
            for (int64_t x = 0; x < width; ++x) {
                const int64_t v = std::min(y * step + step / 2, kHeight - 1);
                const int64_t u = std::min(x * step + step / 2, kWidth - 1);
                ASSERT_NEAR(reduced[index((y * width + x) * 3)], filled.pixels[index((v * kWidth + u) * 3)],
                            12)
                    << step << ": " << x << "," << y;
            }
    }
}

// One colour stays that colour, whatever the samples are, however pixels are known, at sizes that do not
// divide.
template <typename T>
void expectOneColour(const Inpainter& inpainter, PconvSampleType type, T colour, int channels,
                     PconvMaskLevels levels) {
    constexpr int64_t kSide = 61, kReduced = 13;  // a fifth
    std::vector<T> pixels(index(kSide * kSide * channels), colour),
        reduced(index(kReduced * kReduced * channels));
    std::vector<uint8_t> mask(index(kSide * kSide));
    for (size_t i = 0; i < mask.size(); i += 3) mask[i] = static_cast<uint8_t>(i % 256);
    for (size_t i = 0; i < mask.size(); ++i)
        if (mask[i] == 255) pixels[i * index(channels)] = T{};
    PconvImage image = pconvDefaultImage();
    image.pixels = pixels.data();
    image.width = image.height = kSide;
    image.channels = channels;
    image.sample_type = type;
    PconvImage preview = image;
    preview.pixels = reduced.data();
    preview.width = preview.height = kReduced;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.mask_levels = levels;
    for (const PconvTransfer transfer : {PCONV_TRANSFER_AS_STORED, PCONV_TRANSFER_LINEAR}) {
        image.transfer = transfer;
        check(pconvPreviewInpainter(inpainter.handle, &image, mask.data(), &options, &preview));
        for (const T sample : reduced)
            ASSERT_NEAR(static_cast<double>(sample), static_cast<double>(colour),
                        1e-3 * static_cast<double>(colour))
                << type << " " << channels << " " << levels << " " << transfer;
    }
}

TEST(Inpainter, APreviewOfOneColourIsThatColour) {
    const OwnedDevice device = openDevice("cpu");
    const Inpainter inpainter(device.get());
    for (const int channels : {1, 2, 3, 4})
        for (const PconvMaskLevels levels : {PCONV_MASK_LEVELS_BINARY, PCONV_MASK_LEVELS_CONFIDENCE}) {
            expectOneColour<uint8_t>(inpainter, PCONV_SAMPLE_TYPE_U8, 70, channels, levels);
            expectOneColour<uint16_t>(inpainter, PCONV_SAMPLE_TYPE_U16, 40000, channels, levels);
            expectOneColour<float>(inpainter, PCONV_SAMPLE_TYPE_F32, 0.25F, channels, levels);
        }
}

// Selected in part, each pixel keeps a share of itself: here two colours a column wide.
TEST(Inpainter, APreviewOfASoftSelectionBlends) {
    const OwnedDevice device = openDevice("cpu");
    const Inpainter inpainter(device.get());
    constexpr int64_t kSide = 64, kStep = 4;
    std::vector<uint8_t> pixels(index(kSide * kSide), 100), reduced(index(kSide / kStep * kSide / kStep));
    std::vector<uint8_t> mask(index(kSide * kSide));
    for (int64_t y = 24; y < 40; ++y)
        for (int64_t x = 24; x < 40; ++x) {
            pixels[index(y * kSide + x)] = 200;
            mask[index(y * kSide + x)] = 128;
        }
    PconvImage image = pconvDefaultImage();
    image.pixels = pixels.data();
    image.width = image.height = kSide;
    image.channels = 1;
    PconvImage preview = image;
    preview.pixels = reduced.data();
    preview.width = preview.height = kSide / kStep;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.mask_levels = PCONV_MASK_LEVELS_BLEND;
    check(pconvPreviewInpainter(inpainter.handle, &image, mask.data(), &options, &preview));
    EXPECT_EQ(reduced[0], 100);
    EXPECT_NEAR(reduced[index(8 * (kSide / kStep) + 8)], 150,
                2);  // half of 200, and half of what is about it
}

TEST(Inpainter, Misuse) {
    const OwnedDevice device = openDevice("cpu");
    const Inpainter inpainter(device.get());
    PconvInpainter other = nullptr;
    EXPECT_INVALID(pconvCreateInpainter(nullptr, &other), "device is null");
    EXPECT_INVALID(pconvCreateInpainter(device.get(), nullptr), "inpainter is null");
    Shot shot;
    PconvImage image = shot.view();
    PconvInpaintJob job = nullptr;
    EXPECT_INVALID(pconvRunInpainter(nullptr, &image, shot.mask.data(), nullptr), "inpainter is null");
    EXPECT_INVALID(pconvStartInpainter(inpainter.handle, nullptr, shot.mask.data(), nullptr, &job),
                   "image is null");
    EXPECT_INVALID(pconvStartInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, nullptr),
                   "job is null");
    EXPECT_EQ(job, nullptr);
    EXPECT_INVALID(pconvGetInpaintProgress(nullptr, nullptr, nullptr), "job is null");
    EXPECT_INVALID(pconvCancelInpaint(nullptr), "job is null");
    EXPECT_INVALID(pconvWaitInpaint(nullptr), "job is null");
    pconvReleaseInpaintJob(nullptr);
    pconvReleaseInpainter(nullptr);
    std::vector<uint8_t> reduced(index(kWidth * kHeight * 3));
    PconvImage preview = image;
    preview.pixels = reduced.data();
    preview.width = 100;
    EXPECT_INVALID(pconvPreviewInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, &preview),
                   "the preview is 100x500; expected 700x500 divided by");
    preview.width = kWidth + 1;
    EXPECT_INVALID(pconvPreviewInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, &preview),
                   "divided by");
    preview.width = kWidth;
    preview.channels = 1;
    EXPECT_INVALID(pconvPreviewInpainter(inpainter.handle, &image, shot.mask.data(), nullptr, &preview),
                   "channels");
}

}  // namespace
}  // namespace pconv::test
