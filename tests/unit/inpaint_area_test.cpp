// Work lies where holes are: several areas at once, thin holes of any length, little memory, and the bits of
// the whole picture.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "inpaint/holes.h"
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

struct Scene {
    int64_t width, height;
    std::vector<uint16_t> pixels;
    std::vector<uint8_t> mask;

    Scene(int64_t w, int64_t h, unsigned seed)
        : width(w), height(h), pixels(index(w * h)), mask(index(w * h)) {
        std::mt19937 random(seed);
        for (int64_t y = 0; y < h; ++y)
            for (int64_t x = 0; x < w; ++x)
                pixels[index(y * w + x)] = static_cast<uint16_t>(
                    20000.0 +
                    9000.0 * std::sin(0.05 * static_cast<double>(x) + 0.02 * static_cast<double>(y)) +
                    ((x / 37 + y / 53) % 2 == 0 ? 15000.0 : 0.0) + static_cast<double>(random() % 1500));
    }

    void cut(int64_t left, int64_t top, int64_t right, int64_t bottom) {
        for (int64_t y = std::max<int64_t>(top, 0); y < std::min(bottom, height); ++y)
            for (int64_t x = std::max<int64_t>(left, 0); x < std::min(right, width); ++x)
                mask[index(y * width + x)] = 1;
    }

    // Fills the part that begins at `left`, `top`.
    void fill(int64_t left, int64_t top, int64_t w, int64_t h) {
        PconvImage image = pconvDefaultImage();
        image.pixels = &pixels[index(top * width + left)];
        image.width = w;
        image.height = h;
        image.channels = 1;
        image.sample_type = PCONV_SAMPLE_TYPE_U16;
        image.row_stride = width * 2;
        PconvInpaintOptions options = pconvDefaultInpaintOptions();
        options.mask_row_stride = width;
        check(pconvInpaint(cpu(), &image, &mask[index(top * width + left)], &options));
    }
    void fill() { fill(0, 0, width, height); }
};

// Holes of one place do not change what is filled in another, and neither does the picture far away.
TEST(InpaintArea, FarHolesDoNotMatter) {
    const Scene scene(900, 700, 1);
    auto one = scene;
    one.cut(100, 120, 140, 150);
    one.cut(120, 90, 122, 200);
    auto many = one;
    many.cut(700, 500, 790, 590);
    many.cut(300, 650, 900, 652);
    auto one_of_many = one;
    one.fill();
    many.fill();
    for (int64_t y = 80; y < 210; ++y)
        for (int64_t x = 90; x < 150; ++x)
            ASSERT_EQ(one.pixels[index(y * 900 + x)], many.pixels[index(y * 900 + x)]) << x << "," << y;
    for (int64_t y = 480; y < 700; ++y)
        for (int64_t x = 600; x < 900; ++x) one_of_many.pixels[index(y * 900 + x)] = 0;
    one_of_many.fill();
    for (int64_t y = 80; y < 210; ++y)
        for (int64_t x = 90; x < 150; ++x)
            ASSERT_EQ(one.pixels[index(y * 900 + x)], one_of_many.pixels[index(y * 900 + x)])
                << x << "," << y;
}

// Of a crop that begins on a multiple of 128 pixels, as cells do, every bit is that of the whole.
TEST(InpaintArea, ACropWithItsMarginIsTheWholePicture) {
    Scene whole(1300, 1200, 2);
    whole.cut(640, 560, 663, 590);
    for (int64_t i = 0; i < 60; ++i) whole.cut(600 + i, 500 + i, 602 + i, 501 + i);
    auto crop = whole;
    whole.fill();
    crop.fill(256, 128, 900, 1000);
    for (size_t i = 0; i < whole.mask.size(); ++i) ASSERT_EQ(whole.pixels[i], crop.pixels[i]) << i;
}

// A crop elsewhere has its samples of coarser levels on other pixels: no bits, but the same picture.
TEST(InpaintArea, AnyCropWithItsMarginIsNearlyTheWholePicture) {
    Scene whole(1300, 1200, 3);
    for (int64_t y = 0; y < 1200; ++y)  // smooth, so that nothing depends on where samples are taken
        for (int64_t x = 0; x < 1300; ++x)
            whole.pixels[index(y * 1300 + x)] = static_cast<uint16_t>(
                30000.0 + 9000.0 * std::sin(0.01 * static_cast<double>(x) + 0.004 * static_cast<double>(y)));
    whole.cut(640, 560, 663, 590);
    auto crop = whole;
    whole.fill();
    crop.fill(259, 133, 899, 1000);
    for (size_t i = 0; i < whole.mask.size(); ++i)
        ASSERT_NEAR(whole.pixels[i], crop.pixels[i], 257) << i;  // a level of 8 bits
}

// Holes too wide for one block are relaxed in parts whose margins overlap: a mask that has them as one, for
// it is turned, gives the picture turned. What would be seams lies elsewhere.
TEST(InpaintArea, PartsOfAWideHoleLeaveNoSeams) {
    Scene scene(1400, 700, 4);
    for (int64_t y = 0; y < 700; ++y)
        for (int64_t x = 0; x < 1400; ++x)
            scene.pixels[index(y * 1400 + x)] = static_cast<uint16_t>(10 * x + 20 * y);
    scene.cut(40, 30, 1360, 670);
    for (int64_t y = 30; y < 670; y += 9) scene.mask[index(y * 1400 + (y * 577) % 1400)] = 0;
    auto random = std::mt19937(5);
    for (int i = 0; i < 9000; ++i) scene.mask[index(static_cast<int64_t>(random() % (1400 * 700)))] = 0;
    scene.fill();
    // A ramp is continued as a ramp, with no step anywhere between neighbours.
    for (int64_t y = 60; y < 640; ++y)
        for (int64_t x = 70; x < 1330; ++x) {
            const int step =
                std::abs(scene.pixels[index(y * 1400 + x)] - scene.pixels[index(y * 1400 + x - 1)]);
            ASSERT_LT(step, 260) << x << "," << y;
        }
}

TEST(InpaintArea, AScratchAcrossTheWholePicture) {
    Scene scene(3000, 2000, 6);
    for (int64_t y = 0; y < 2000; ++y)
        for (int64_t x = 0; x < 3000; ++x)
            scene.pixels[index(y * 3000 + x)] = static_cast<uint16_t>(10 * x + 10 * y);
    const auto original = scene;
    for (int64_t x = 0; x < 3000; ++x) scene.cut(x, 2 * x / 3, x + 2, 2 * x / 3 + 1);
    for (size_t i = 0; i < scene.mask.size(); ++i)
        if (scene.mask[i] != 0) scene.pixels[i] = 0;
    scene.fill();
    for (size_t i = 0; i < scene.mask.size(); ++i)
        ASSERT_NEAR(scene.pixels[i], original.pixels[i], 40) << i;  // at the ends only
}

// Against the definition, pixel by pixel.
TEST(InpaintHoles, ReducedHolesAreThoseWhoseWindowsAreAllHole) {
    std::mt19937 random(7);
    for (int trial = 0; trial < 60; ++trial) {
        const int64_t width = 1 + static_cast<int64_t>(random() % 40);
        const int64_t height = 1 + static_cast<int64_t>(random() % 40);
        std::vector<uint8_t> hole(index(width * height));
        const auto share = random() % 12;
        for (auto& h : hole) h = random() % 12 < share || trial % 3 == 0 ? 1 : 0;
        if (trial % 3 == 0)
            for (int i = 0; i < 4; ++i) hole[random() % hole.size()] = 0;
        inpaint::Holes fine, coarse;
        fine.reset(height, width);
        for (int64_t y = 0; y < height; ++y, fine.endRow())
            for (int64_t x = 0; x < width;) {
                const int64_t begin = x;
                while (x < width && hole[index(y * width + x)] != 0) ++x;
                if (x > begin) fine.add(begin, x);
                if (x == begin) ++x;
            }
        std::vector<float> weights(fine.size()), reduced, scratch;
        for (float& w : weights) w = static_cast<float>(random() % 100) / 100.0F;
        coarse.reduce(fine);
        inpaint::reduceWeights(fine, weights, coarse, reduced, scratch);
        size_t next = 0;
        for (int64_t y = 0; y < (height + 1) / 2; ++y)
            for (int64_t x = 0; x < (width + 1) / 2; ++x) {
                bool all = true;
                float best = 0.0F;
                for (int64_t v = std::max<int64_t>(2 * y - 2, 0); v <= std::min(2 * y + 2, height - 1); ++v)
                    for (int64_t u = std::max<int64_t>(2 * x - 2, 0); u <= std::min(2 * x + 2, width - 1);
                         ++u) {
                        all = all && hole[index(v * width + u)] != 0;
                        const size_t s = fine.find(v, u);
                        if (!all) break;
                        const auto& span = fine.spans()[s];
                        best = std::max(best, weights[span.first + index(u - span.begin)]);
                    }
                const size_t s = coarse.find(y, x);
                const bool is = s < coarse.rowBegin(y + 1) && coarse.spans()[s].begin <= x;
                ASSERT_EQ(is, all) << width << "x" << height << " at " << x << "," << y;
                if (is) {
                    ASSERT_EQ(reduced[next++], best);
                }
            }
        ASSERT_EQ(next, coarse.size());
    }
}

struct Book {
    int64_t now = 0, most = 0;
};

void keep(void* user, int64_t bytes) {
    auto& book = *static_cast<Book*>(user);
    book.now += bytes;
    book.most = std::max(book.most, book.now);
}

// What the header says is enough for any picture.
TEST(InpaintArea, SixteenMebibytesOfDeviceMemoryAreEnough) {
    Book book;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.memory_limit = 16 << 20;
    options.allocation_callback = keep;
    options.user = &book;
    const OwnedDevice device = openDevice("cpu", &options);
    Scene scene(2000, 1500, 8);
    scene.cut(0, 0, 1990, 1490);
    PconvImage image = pconvDefaultImage();
    image.pixels = scene.pixels.data();
    image.width = scene.width;
    image.height = scene.height;
    image.channels = 1;
    image.sample_type = PCONV_SAMPLE_TYPE_U16;
    check(pconvInpaint(device.get(), &image, scene.mask.data(), nullptr));
    EXPECT_LE(book.most, 16 << 20);
    EXPECT_EQ(book.now, 0);
}

}  // namespace
}  // namespace pconv::test
