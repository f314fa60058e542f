// What an editor waits for when it fills holes in a photograph of 24 megapixels: the first call, one hole and
// its memory, a cancelled job, a preview. pconv_inpaint_editor_bench [DEVICE]
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "pconv/inpaint.hpp"

namespace {

constexpr int64_t kWidth = 6000, kHeight = 4000;
constexpr int64_t kChannels = 3;

using Clock = std::chrono::steady_clock;

double millisecondsSince(Clock::time_point start) {
    return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double milliseconds(const std::function<void()>& work) {
    const auto start = Clock::now();
    work();
    return millisecondsSince(start);
}

// A line of /proc/self/status in MB; 0 where there is no such file.
double megabytes(const std::string& name) {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word)
        if (word == name) {
            double kilobytes = 0.0;
            status >> kilobytes;
            return kilobytes / 1024.0;
        }
    return 0.0;
}

struct Photograph {
    std::vector<uint8_t> pixels = std::vector<uint8_t>(static_cast<size_t>(kWidth * kHeight * kChannels));
    std::vector<uint8_t> mask = std::vector<uint8_t>(static_cast<size_t>(kWidth * kHeight));

    Photograph() {
        size_t i = 0;
        for (int64_t y = 0; y < kHeight; ++y)
            for (int64_t x = 0; x < kWidth; ++x)
                for (int64_t c = 0; c < kChannels; ++c, ++i)
                    pixels[i] = static_cast<uint8_t>(
                        128.0 + 60.0 * std::sin(0.01 * static_cast<double>(x) + static_cast<double>(c)) +
                        50.0 * std::sin(0.013 * static_cast<double>(y)) +
                        static_cast<double>((x * 7919 + y * 104729) % 13));
    }
    pconv::Image view() { return {pixels.data(), kWidth, kHeight}; }
    void box(int64_t left, int64_t top, int64_t width, int64_t height) {
        for (int64_t y = top; y < top + height; ++y)
            std::fill_n(mask.begin() + static_cast<std::ptrdiff_t>(y * kWidth + left), width, uint8_t{1});
    }
    void clear() { std::fill(mask.begin(), mask.end(), uint8_t{0}); }
};

struct Holes {
    const char* name;
    std::function<void(Photograph&)> cut;
};

// The longest that a job took to end after it was asked to, at moments all over its time.
double longestCancel(const pconv::Inpainter& inpainter, Photograph& photograph) {
    double longest = 0.0;
    constexpr int kMoments = 16;  // from 2 ms to 2.3 s
    double after = 2.0;
    for (int i = 0; i < kMoments; ++i) {
        const pconv::InpaintJob job = inpainter.start(photograph.view(), photograph.mask.data());
        std::this_thread::sleep_for(std::chrono::duration<double, std::milli>(after));
        after *= 1.6;
        if (job.finished()) break;
        const auto asked = Clock::now();
        job.cancel();
        try {
            job.wait();
        } catch (const pconv::Error& error) {
            if (error.status() != PCONV_ERROR_CANCELLED) throw;
        }
        longest = std::max(longest, millisecondsSince(asked));
    }
    return longest;
}

double preview(const pconv::Inpainter& inpainter, Photograph& photograph, int64_t step) {
    const int64_t width = kWidth / step, height = kHeight / step;
    std::vector<uint8_t> reduced(static_cast<size_t>(width * height * kChannels));
    const pconv::Image small(reduced.data(), width, height);
    return milliseconds([&] { inpainter.preview(photograph.view(), photograph.mask.data(), small); });
}

void run(const std::string& selector) {
    std::vector<uint8_t> stroke(static_cast<size_t>(640 * 480 * kChannels), 90);
    std::vector<uint8_t> stroke_mask(static_cast<size_t>(640 * 480));
    std::fill_n(stroke_mask.begin() + 240 * 640 + 100, 300, uint8_t{1});
    std::printf("| what | ms | MB beside the picture |\n| --- | --- | --- |\n");
    const auto start = Clock::now();
    const pconv::Device device(selector);
    const pconv::Inpainter inpainter(device);
    inpainter.run(pconv::Image(stroke.data(), 640, 480), stroke_mask.data());
    std::printf("| first call of the process, device and all: a scratch in 640x480 | %.1f | |\n",
                millisecondsSince(start));

    Photograph photograph;
    photograph.box(3000, 2000, 100, 100);
    const double before = megabytes("VmHWM:");
    double best = 0.0;
    const double first =
        milliseconds([&] { pconv::inpaint(device, photograph.view(), photograph.mask.data()); });
    const double more = megabytes("VmHWM:") - before;
    for (int i = 0; i < 5; ++i) {
        const double time = milliseconds([&] { inpainter.run(photograph.view(), photograph.mask.data()); });
        best = i == 0 ? time : std::min(best, time);
    }
    std::printf("| one hole of 100x100, first | %.1f | %.1f |\n", first, more);
    std::printf("| one hole of 100x100, best of five more | %.1f | |\n", best);

    const Holes kinds[] = {
        {"one hole of 100x100", [](Photograph& p) { p.box(3000, 2000, 100, 100); }},
        {"a scratch from corner to corner",
         [](Photograph& p) {
             for (int64_t x = 0; x + 3 < kWidth; ++x) p.box(x, x * 2 / 3, 3, 1);
         }},
        {"a quarter of the picture", [](Photograph& p) { p.box(1500, 1000, 3000, 2000); }},
        {"a tenth of all pixels, at random",
         [](Photograph& p) {
             for (size_t i = 0; i < p.mask.size(); ++i)
                 p.mask[i] = (i * 2654435761U >> 16U) % 10 == 0 ? 1 : 0;
         }},
    };
    for (const Holes& holes : kinds) {
        photograph.clear();
        holes.cut(photograph);
        for (const int64_t step : {4, 8}) {
            const double cold = preview(inpainter, photograph, step);
            const double warm =
                std::min(preview(inpainter, photograph, step), preview(inpainter, photograph, step));
            std::printf("| preview at 1/%d, %s: first, then | %.1f, %.1f | |\n", static_cast<int>(step),
                        holes.name, cold, warm);
        }
        std::printf("| longest from cancel to the job's end, %s | %.1f | |\n", holes.name,
                    longestCancel(inpainter, photograph));
    }
}

}  // namespace

int main(int count, char** arguments) {
    try {
        run(count > 1 ? arguments[1] : "cpu");
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
