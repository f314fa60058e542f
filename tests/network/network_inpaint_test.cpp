// Filling with a network: only holes change, any size and sample type, tiles without seams; and what is
// refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "pconv/pconv.hpp"
#include "support/api.h"
#include "support/handles.h"
#include "support/small_model.h"

namespace pconv::test {
namespace {

class NetworkInpainting : public ::testing::Test {
  protected:
    void SetUp() override { writeSmallModel(path_); }
    void TearDown() override { std::filesystem::remove(path_); }

    // Smooth, with some noise.
    void drawPicture(int64_t width, int64_t height, int channels) {
        width_ = width;
        height_ = height;
        channels_ = channels;
        pixels_.clear();
        std::mt19937 random(3);
        for (int64_t y = 0; y < height; ++y)
            for (int64_t x = 0; x < width; ++x)
                for (int c = 0; c < channels; ++c)
                    pixels_.push_back(
                        static_cast<float>(0.5 +
                                           0.3 * std::sin(0.05 * static_cast<double>(x + 7 * c)) *
                                               std::cos(0.04 * static_cast<double>(y)) +
                                           0.01 * static_cast<double>(random() % 7)));
        holes_.assign(static_cast<size_t>(width * height), 0);
    }

    void drawHole(int64_t x0, int64_t y0, int64_t width, int64_t height) {
        for (int64_t y = y0; y < y0 + height; ++y)
            for (int64_t x = x0; x < x0 + width; ++x) holes_[static_cast<size_t>(y * width_ + x)] = 1;
    }

    template <typename T>
    PconvImage imageOf(std::vector<T>& samples, PconvSampleType type) const {
        PconvImage image = pconvDefaultImage();
        image.pixels = samples.data();
        image.width = width_;
        image.height = height_;
        image.channels = channels_;
        image.sample_type = type;
        image.value_max = type == PCONV_SAMPLE_TYPE_F32 ? 1.0F : 0.0F;
        return image;
    }

    PconvStatus fill(const PconvImage& image, int64_t tile, const PconvInpaintOptions* options = nullptr) {
        return fillOn(device_, image, tile, options);
    }

    PconvStatus fillOn(const Device& device, const PconvImage& image, int64_t tile,
                       const PconvInpaintOptions* options = nullptr) {
        const Model model = Model::load(path_.string());
        const Network network = Network::load(device, path_.string(), {4, 4});
        return pconvInpaintWithNetwork(device.get(), model.get(), network.get(), &image, holes_.data(),
                                       options, tile);
    }

    // In how many tiles a picture is filled: what they leave over counts as one more, where it is known that
    // they do.
    int64_t tilesFor(int64_t tile) {
        std::vector<double> done;
        PconvInpaintOptions options = pconvDefaultInpaintOptions();
        options.user = &done;
        options.progress = [](void* user, double part) {
            static_cast<std::vector<double>*>(user)->push_back(part);
            return 0;
        };
        std::vector<float> samples = pixels_;
        check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), tile, &options));
        return done.at(1) == 1 ? 1 : std::lround(1 / done[1]) - 1;
    }

    std::vector<float> filled(int64_t tile) {
        std::vector<float> samples = pixels_;
        check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), tile));
        return samples;
    }

    const std::filesystem::path path_ =
        std::filesystem::temp_directory_path() /
        ("pconv_network_inpaint_" +
         std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + ".safetensors");
    Device device_{"cpu"};
    int64_t width_ = 0, height_ = 0;
    int channels_ = 3;
    std::vector<float> pixels_;
    std::vector<uint8_t> holes_;
};

TEST_F(NetworkInpainting, OnlyHolesChangeAndAreContinued) {
    for (const int channels : {1, 3}) {
        drawPicture(61, 47, channels);
        drawHole(20, 15, 6, 9);
        drawHole(58, 40, 3, 7);
        std::vector<float> samples = pixels_;
        for (size_t i = 0; i < samples.size(); ++i)
            if (holes_[i / static_cast<size_t>(channels)] != 0) samples[i] = NAN;
        check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0));
        for (size_t i = 0; i < samples.size(); ++i) {
            if (holes_[i / static_cast<size_t>(channels)] == 0)
                ASSERT_EQ(samples[i], pixels_[i]);
            else
                ASSERT_NEAR(samples[i], pixels_[i], 0.12) << i;  // the picture varies by 0.6
        }
    }
}

// The mean of nine or of twenty-five neighbours reaches 20 pixels in this network; tiles overlap by 16 and
// more.
TEST_F(NetworkInpainting, TilesHaveNoSeams) {
    drawPicture(230, 190, 3);
    drawHole(10, 20, 9, 150);
    drawHole(60, 90, 160, 7);
    drawHole(100, 30, 100, 5);
    const auto whole = filled(256);
    const auto tiled = filled(64);
    double difference = 0;
    double seam = 0;
    for (int64_t y = 0; y < height_; ++y)
        for (int64_t x = 0; x + 1 < width_; ++x)
            for (int64_t c = 0; c < 3; ++c) {
                const auto i = static_cast<size_t>((y * width_ + x) * 3 + c);
                const double off = static_cast<double>(tiled[i]) - static_cast<double>(whole[i]);
                const double next = static_cast<double>(tiled[i + 3]) - static_cast<double>(whole[i + 3]);
                difference = std::max(difference, std::abs(off));
                seam = std::max(seam, std::abs(off - next));
            }
    EXPECT_GT(difference, 0);  // they were tiles
    EXPECT_LE(seam, 1.0 / 255);
    EXPECT_LE(difference, 4.0 / 255);
}

// As long as the network's reach is the tile's overlap, what tiles make is what the whole makes; beyond it,
// what they differ by must not be seen as a line. At the edges of tiles, differences of neighbours are no
// larger than elsewhere.
TEST_F(NetworkInpainting, EdgesOfTilesAreNoDifferentFromOtherPlaces) {
    drawPicture(200, 64, 3);
    drawHole(4, 28, 190, 8);
    const auto tiled = filled(64);
    const auto whole = filled(256);
    const auto stepAt = [&](int64_t x) {
        double step = 0;
        for (int64_t y = 28; y < 36; ++y)
            for (int64_t c = 0; c < 3; ++c) {
                const auto i = static_cast<size_t>((y * width_ + x) * 3 + c);
                step = std::max(step, std::abs(static_cast<double>(tiled[i + 3] - whole[i + 3]) -
                                               static_cast<double>(tiled[i] - whole[i])));
            }
        return step;
    };
    // Tiles of 64 begin at 0, 48, 96 and 136.
    double at_edges = 0;
    for (const int64_t x : {47, 63, 95, 111, 135, 159}) at_edges = std::max(at_edges, stepAt(x));
    EXPECT_LE(at_edges, 0.5 / 255);
}

// Wherever a hole lies, one tile around it is enough, and shows the network all that it would see of the
// whole.
TEST_F(NetworkInpainting, TilesLieAroundHoles) {
    drawPicture(300, 280, 3);
    for (const int64_t x : {0, 1, 43, 60, 62, 93, 131, 250, 291})
        for (const int64_t y : {0, 37, 61, 140, 271}) {
            SCOPED_TRACE(std::to_string(x) + " " + std::to_string(y));
            std::fill(holes_.begin(), holes_.end(), uint8_t{0});
            drawHole(x, y, 9, 9);
            EXPECT_EQ(tilesFor(64), 1);
            const auto whole = filled(512);
            const auto tiled = filled(64);
            for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(tiled[i], whole[i], 2e-6) << i;
        }
}

TEST_F(NetworkInpainting, NearHolesShareTilesAndFarOnesDoNot) {
    drawPicture(300, 280, 3);
    drawHole(50, 50, 4, 4);
    drawHole(75, 60, 4, 4);
    EXPECT_EQ(tilesFor(64), 1);
    drawHole(200, 60, 4, 4);
    EXPECT_EQ(tilesFor(64), 2);
    drawHole(210, 250, 4, 4);
    EXPECT_EQ(tilesFor(64), 3);
    EXPECT_EQ(tilesFor(300), 1);
    drawHole(0, 120, 300, 3);  // 0, 48, 96, 144, 192, 236
    EXPECT_EQ(tilesFor(64), 9);
    const auto whole = filled(512);
    const auto tiled = filled(64);
    for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(tiled[i], whole[i], 2.0 / 255) << i;
}

// With a mask of fractions a pixel that is known in part is learned from by that part.
TEST_F(NetworkInpainting, FractionalMasksSayHowMuchIsKnown) {
    drawPicture(60, 40, 3);
    drawHole(20, 10, 15, 14);
    const auto binary = filled(0);
    std::string json = kSmallModel;
    json.replace(json.find("\"mask_planes\":1"), 15, "\"mask_planes\":1,\"mask\":\"fractional\"");
    writeSmallModel(path_, json);
    const auto fractional = filled(0);
    for (size_t i = 0; i < binary.size(); ++i) ASSERT_NEAR(fractional[i], binary[i], 1e-5) << i;

    // Wrong colours whose part rises, and what is farther than the rim from them.
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.mask_levels = PCONV_MASK_LEVELS_CONFIDENCE;
    const auto darkest = [&](uint8_t hole) {
        for (uint8_t& byte : holes_) byte = byte != 0 ? 255 : 0;
        std::vector<float> samples = pixels_;
        for (int64_t y = 0; y < height_; ++y)
            for (int64_t x = 35; x < 46; ++x) {
                holes_[static_cast<size_t>(y * width_ + x)] = hole;
                for (int c = 0; c < 3; ++c) samples[static_cast<size_t>((y * width_ + x) * 3 + c)] = -9;
            }
        check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0, &options));
        float least = 1;
        for (int64_t y = 16; y < 18; ++y)
            least = std::min(least, samples[static_cast<size_t>((y * width_ + 30) * 3)]);
        return least;
    };
    float before = darkest(255);
    EXPECT_GT(before, 0.1F);
    for (const uint8_t hole : {uint8_t{200}, uint8_t{127}, uint8_t{60}, uint8_t{0}}) {
        const float now = darkest(hole);
        EXPECT_LT(now, before - 5e-4F) << int{hole};
        before = now;
    }
    // A picture of which nothing is known by more than a part is filled all the same.
    std::fill(holes_.begin(), holes_.end(), uint8_t{200});
    std::vector<float> samples(pixels_.size(), 0.25F);
    check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0, &options));
    // Not to the bit: at the corners a window has less than one pixel's worth. Gray would be 0.45.
    for (const float sample : samples) ASSERT_NEAR(sample, 0.25F, 0.02F);
    writeSmallModel(path_);
    EXPECT_EQ(darkest(127), darkest(0));
}

// Of a tile that is all hole the network would know nothing.
TEST_F(NetworkInpainting, TilesGrowWhereAHoleCoversOne) {
    drawPicture(150, 150, 3);
    drawHole(5, 5, 140, 140);
    EXPECT_EQ(filled(16), filled(128));  // of 64 and 64 at 48, the middle would be
    EXPECT_NE(filled(16), filled(256));
    drawHole(0, 0, 150, 150);
    for (const float value : filled(0)) ASSERT_EQ(value, 0.5F);
}

// What lies farther inside than the network reaches is filled as without one, from what the network gives.
TEST_F(NetworkInpainting, WhatTheNetworkDoesNotReachIsFilledAsWithoutOne) {
    for (const int channels : {1, 3}) {
        drawPicture(160, 120, channels);
        drawHole(30, 20, 90, 80);
        std::vector<float> samples = pixels_;
        for (size_t i = 0; i < samples.size(); ++i)
            if (holes_[i / static_cast<size_t>(channels)] != 0) samples[i] = NAN;
        check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0));
        const auto [least, most] = std::minmax_element(pixels_.begin(), pixels_.end());
        for (size_t i = 0; i < samples.size(); ++i) {
            if (holes_[i / static_cast<size_t>(channels)] == 0) {
                ASSERT_EQ(samples[i], pixels_[i]);
                continue;
            }
            ASSERT_GE(samples[i], *least - 0.1F) << i;  // 0, where nothing had been filled
            ASSERT_LE(samples[i], *most + 0.1F) << i;
        }
        // No step where the one begins and the other ends.
        const int64_t row = width_ * channels;
        for (int64_t y = 20; y < 99; ++y)
            for (int64_t x = 30; x < 119; ++x) {
                const auto i = static_cast<size_t>(y * row + x * channels);
                ASSERT_NEAR(samples[i], samples[i + static_cast<size_t>(channels)], 0.15) << x << " " << y;
                ASSERT_NEAR(samples[i], samples[i + static_cast<size_t>(row)], 0.15) << x << " " << y;
            }
    }
}

// That fill takes the place of a large tile's tensors in the device's memory: what the tile fits into is
// enough.
TEST_F(NetworkInpainting, TheRestNeedsNoMoreMemoryThanALargeTile) {
    drawPicture(900, 900, 3);
    drawHole(400, 400, 50, 50);
    std::vector<float> samples = pixels_;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.memory_limit = 50'000'000;
    check(fillOn(Device("cpu", &options), imageOf(samples, PCONV_SAMPLE_TYPE_F32), 900));
}

TEST_F(NetworkInpainting, MemoryThatTheRestLacksIsSaidToBeBesideTheNetwork) {
    drawPicture(160, 120, 3);
    drawHole(30, 20, 90, 80);
    std::vector<float> samples = pixels_;
    int of_rest = 0;
    PconvStatus status = PCONV_ERROR_OUT_OF_MEMORY;
    for (uint64_t limit = 400'000; status != PCONV_SUCCESS; limit += limit / 8) {
        ASSERT_LT(limit, uint64_t{64} << 20);
        PconvDeviceOptions options = pconvDefaultDeviceOptions();
        options.memory_limit = limit;
        try {
            status = fillOn(Device("cpu", &options), imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0);
        } catch (const Error& error) {  // the network itself has no room
            status = error.status();
        }
        if (status == PCONV_SUCCESS) break;
        ASSERT_EQ(status, PCONV_ERROR_OUT_OF_MEMORY);
        ASSERT_EQ(samples, pixels_);
        const std::string fault = pconvGetLastError();
        if (fault.find("16 MiB") == std::string::npos) continue;
        EXPECT_NE(fault.find("beside the network"), std::string::npos) << fault;
        ++of_rest;
    }
    EXPECT_GT(of_rest, 0);
}

// Nor does a picture change that is given up then.
TEST_F(NetworkInpainting, NothingChangesWhereTheRestIsCancelled) {
    drawPicture(160, 120, 3);
    drawHole(30, 20, 90, 80);
    std::vector<float> samples = pixels_;
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    std::vector<double> seen;
    options.user = &seen;
    options.progress = [](void* user, double done) {
        static_cast<std::vector<double>*>(user)->push_back(done);
        return 0;
    };
    check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0, &options));
    EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
    EXPECT_EQ(seen.back(), 1.0);
    samples = pixels_;
    options.progress = [](void*, double done) { return done > 0.75 ? 1 : 0; };  // of one tile and the rest
    EXPECT_FAULT(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0, &options), PCONV_ERROR_CANCELLED,
                 "asked to stop");
    EXPECT_EQ(samples, pixels_);
}

// A pixel that is partly hole becomes a mean of itself and of what is filled in.
TEST_F(NetworkInpainting, LevelsOfTheMaskBlend) {
    drawPicture(40, 30, 3);
    drawHole(10, 10, 6, 6);
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.mask_levels = PCONV_MASK_LEVELS_CONFIDENCE;
    for (uint8_t& hole : holes_) hole = hole != 0 ? 255 : 0;
    std::vector<float> all = pixels_;
    check(fill(imageOf(all, PCONV_SAMPLE_TYPE_F32), 0, &options));
    for (uint8_t& hole : holes_) hole = hole != 0 ? 204 : 0;
    std::vector<float> most = pixels_;
    for (size_t i = 0; i < most.size(); ++i)
        if (holes_[i / 3] != 0) most[i] = 1;  // what is there, mostly hole, is not learned from
    check(fill(imageOf(most, PCONV_SAMPLE_TYPE_F32), 0, &options));
    for (size_t i = 0; i < most.size(); ++i)
        ASSERT_NEAR(most[i], holes_[i / 3] != 0 ? 0.8F * all[i] + 0.2F : all[i], 1e-5F);
}

TEST_F(NetworkInpainting, AllSampleTypesAreFilledAlike) {
    drawPicture(40, 30, 3);
    drawHole(10, 10, 8, 8);
    const auto floats = filled(0);
    std::vector<uint8_t> bytes;
    std::vector<uint16_t> shorts;
    for (const float value : pixels_) {
        bytes.push_back(static_cast<uint8_t>(std::lround(value * 255)));
        shorts.push_back(static_cast<uint16_t>(std::lround(value * 65535)));
    }
    check(fill(imageOf(bytes, PCONV_SAMPLE_TYPE_U8), 0));
    check(fill(imageOf(shorts, PCONV_SAMPLE_TYPE_U16), 0));
    for (size_t i = 0; i < floats.size(); ++i) {
        ASSERT_NEAR(static_cast<float>(bytes[i]) / 255, floats[i], 1.1 / 255);
        ASSERT_NEAR(static_cast<float>(shorts[i]) / 65535, floats[i], 1e-4);
    }
}

TEST_F(NetworkInpainting, ReportsProgressAndStops) {
    drawPicture(150, 150, 3);
    for (const int64_t x : {10, 60, 110}) drawHole(x, 5, 30, 140);
    struct Seen {
        std::vector<double> done;
        size_t stop_after;
    } seen{{}, 1000};
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    options.user = &seen;
    options.progress = [](void* user, double done) {
        Seen& all = *static_cast<Seen*>(user);
        all.done.push_back(done);
        return all.done.size() >= all.stop_after ? 1 : 0;
    };
    std::vector<float> samples = pixels_;
    check(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 64, &options));
    EXPECT_GE(seen.done.size(), 9U);
    EXPECT_TRUE(std::is_sorted(seen.done.begin(), seen.done.end()));
    EXPECT_EQ(seen.done.back(), 1.0);
    seen = {{}, 3};
    samples = pixels_;
    EXPECT_FAULT(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 64, &options), PCONV_ERROR_CANCELLED,
                 "asked to stop");
    EXPECT_EQ(samples, pixels_);
}

TEST_F(NetworkInpainting, WhatDoesNotFitIsNamed) {
    drawPicture(20, 20, 3);
    drawHole(5, 5, 4, 4);
    std::vector<float> samples = pixels_;
    channels_ = 2;
    EXPECT_INVALID(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0), "channels is 2; a network fills 1 or 3");
    channels_ = 3;
    EXPECT_INVALID(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), -1), "tile is -1");
    PconvNetwork network = nullptr;
    const int64_t odd[PCONV_MAX_SPATIAL_DIMS] = {6, 8, 1};
    EXPECT_INVALID(pconvLoadNetwork(device_.get(), path_.string().c_str(), odd, &network),
                   "expected a multiple of 4");
    EXPECT_INVALID(pconvLoadNetwork(device_.get(), path_.string().c_str(), nullptr, &network),
                   "size is null");
    PconvModel model = nullptr;
    const std::string good = kSmallModel;
    const std::pair<std::string, std::string> faults[] = {
        {"\"name\":\"enc2\"", "\"name\":\"enc3\""},
        {"\"size_multiple\":4", "\"size_multiple\":0"},
        {"\"factor\":[4,4]", "\"factor\":[4]"},
        {"\"previous\",\"input\"", "\"previous\""},
        {"\"kernel\":[5,5]", "\"kernel\":[3,3]"},
        {"\"name\":\"enc2\"", "\"name\":\"en\\u001bc2\""},
        {"\"mask_planes\":1", "\"mask_planes\":1,\"a\\u001bb\":1"},
        {"\"mask_planes\":1", "\"mask_planes\":2"},
        {"\"name\":\"dec1\",\"channels\":3", "\"name\":\"dec1\",\"channels\":2147483647"},
    };
    const char* const parts[] = {"there is no tensor 'enc3.weight'",
                                 "size_multiple is not 1 to 65536",
                                 "layer 2: factor is not a list of 2 numbers",
                                 "layer 3: inputs is not a list of 2 or more",
                                 "tensor 'dec1.weight' has another shape; expected [3, 6, 3, 3]",
                                 "layer 1: name is not a text without control characters",
                                 "input has 'a\\x1bb', which this version does not know",
                                 "mask_planes is not 0, 1 or the number of channels",
                                 "tensor 'dec1.weight' has another shape; expected [2147483647, 6, 5, 5]"};
    for (size_t i = 0; i < std::size(faults); ++i) {
        std::string json = good;
        json.replace(json.find(faults[i].first), faults[i].first.size(), faults[i].second);
        writeSmallModel(path_, json);
        EXPECT_INVALID(pconvLoadModel(path_.string().c_str(), &model), parts[i]);
    }
    EXPECT_EQ(model, nullptr);
    // Without a mask there is nothing to fill by.
    std::string json = good;
    json.replace(json.find("\"channels\":3"), 12, "\"mask\":\"none\",\"channels\":3");
    writeSmallModel(path_, json);
    EXPECT_INVALID(fill(imageOf(samples, PCONV_SAMPLE_TYPE_F32), 0), "the model takes no mask");
}

}  // namespace
}  // namespace pconv::test
