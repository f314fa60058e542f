// inpaint.hpp: what it gives is what the C functions give, and what is thrown where.
#include "pconv/inpaint.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include "support/api.h"
#include "support/small_model.h"

namespace pconv::test {
namespace {

constexpr int64_t kSide = 96;
constexpr size_t kPixels = kSide * kSide;

class InpaintCpp : public ::testing::Test {
  protected:
    InpaintCpp() {
        for (size_t i = 0; i < pixels_.size(); ++i)
            pixels_[i] = static_cast<float>(0.5 + 0.4 * std::sin(0.001 * static_cast<double>(i)));
        for (size_t y = 30; y < 50; ++y)
            for (size_t x = 20; x < 60; ++x) mask_[y * kSide + x] = 1;
        PconvImage image = pconvDefaultImage();
        filled_ = pixels_;
        image.pixels = filled_.data();
        image.width = image.height = kSide;
        image.sample_type = PCONV_SAMPLE_TYPE_F32;
        check(pconvInpaint(device_.get(), &image, mask_.data(), nullptr));
    }

    Device device_{"cpu"};
    std::vector<float> pixels_ = std::vector<float>(3 * kPixels), filled_;
    std::vector<uint8_t> mask_ = std::vector<uint8_t>(kPixels);
};

TEST_F(InpaintCpp, ImagesKnowTheirSampleType) {
    std::vector<uint8_t> bytes(3 * kPixels, 70);
    std::vector<uint16_t> words(kPixels, 7000), halves(kPixels, 0x3800);
    for (size_t i = 0; i < kPixels; ++i)
        if (mask_[i] != 0) bytes[3 * i] = 255, words[i] = halves[i] = 0;
    inpaint(device_, Image(bytes.data(), kSide, kSide), mask_.data());
    inpaint(device_, Image(words.data(), kSide, kSide, 1), mask_.data());
    inpaint(device_, Image(halves.data(), kSide, kSide, 1, PCONV_SAMPLE_TYPE_F16), mask_.data());
    EXPECT_EQ(bytes, std::vector<uint8_t>(3 * kPixels, 70));
    EXPECT_EQ(words, std::vector<uint16_t>(kPixels, 7000));
    EXPECT_EQ(halves, std::vector<uint16_t>(kPixels, 0x3800));
}

TEST_F(InpaintCpp, CallsInpaintersAndJobsGiveWhatTheCFunctionGives) {
    std::vector<float> called = pixels_, kept = pixels_, started = pixels_;
    inpaint(device_, Image(called.data(), kSide, kSide), mask_.data());
    EXPECT_EQ(called, filled_);
    const Inpainter inpainter(device_);
    inpainter.run(Image(kept.data(), kSide, kSide), mask_.data());
    EXPECT_EQ(kept, filled_);
    InpaintJob job = inpainter.start(Image(started.data(), kSide, kSide), mask_.data());
    InpaintJob moved = std::move(job);
    moved.wait();
    EXPECT_TRUE(moved.finished());
    EXPECT_EQ(moved.done(), 1.0);
    EXPECT_EQ(started, filled_);

    std::vector<float> whole(3 * kPixels);
    inpainter.preview(Image(pixels_.data(), kSide, kSide), mask_.data(), Image(whole.data(), kSide, kSide));
    // By way of the colours' own curve, so that the last digit may differ.
    for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], filled_[i], 1e-5) << i;
}

TEST_F(InpaintCpp, ProgressMayStopOrThrowAndTheImageIsUntouched) {
    std::vector<float> samples = pixels_;
    const Image image(samples.data(), kSide, kSide);
    double last = -1.0;
    inpaint(device_, image, mask_.data(), pconvDefaultInpaintOptions(), [&](double done) {
        EXPECT_GE(done, last);
        last = done;
        return true;
    });
    EXPECT_EQ(last, 1.0);
    samples = pixels_;
    try {
        inpaint(device_, image, mask_.data(), pconvDefaultInpaintOptions(), [](double) { return false; });
        FAIL() << "it was not stopped";
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_CANCELLED);
    }
    const Inpainter inpainter(device_);
    EXPECT_THROW(inpainter.run(image, mask_.data(), pconvDefaultInpaintOptions(),
                               [](double) -> bool { throw std::out_of_range("enough"); }),
                 std::out_of_range);
    InpaintJob job = inpainter.start(image, mask_.data());
    job.cancel();
    try {
        job.wait();
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_CANCELLED);
        EXPECT_EQ(samples, pixels_);
    }
}

TEST_F(InpaintCpp, FaultsAreThrown) {
    std::vector<float> samples = pixels_;
    try {
        inpaint(device_, Image(samples.data(), 0, kSide), mask_.data());
        FAIL() << "no pixels were filled";
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_INVALID_ARGUMENT);
        EXPECT_NE(std::string(error.what()).find("width"), std::string::npos) << error.what();
    }
}

TEST_F(InpaintCpp, NetworksFillToo) {
    const std::filesystem::path path =
        std::filesystem::temp_directory_path() / "pconv_inpaint_cpp_test.safetensors";
    writeSmallModel(path);
    const Model model = Model::load(path.string());
    const Network network = Network::load(device_, path.string(), {4, 4});
    std::filesystem::remove(path);
    std::vector<float> samples = pixels_, by_c = pixels_;
    const Image image(by_c.data(), kSide, kSide);
    check(pconvInpaintWithNetwork(device_.get(), model.get(), network.get(), &image, mask_.data(), nullptr,
                                  64));
    int calls = 0;
    inpaint(
        device_, model, network, Image(samples.data(), kSide, kSide), mask_.data(),
        pconvDefaultInpaintOptions(), [&](double) { return ++calls > 0; }, 64);
    EXPECT_EQ(samples, by_c);
    EXPECT_NE(samples, pixels_);
    EXPECT_GT(calls, 0);
}

}  // namespace
}  // namespace pconv::test
