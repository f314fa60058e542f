// compare A.png B.png LEVELS: whether two pictures are of one size and at most so many levels of 8 bits
// apart, alpha too.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

#include "image/io.h"

namespace {

// As RGBA in levels of 8 bits: what a host saves may be gray, opaque or of 16 bits.
std::vector<float> rgbaOf(const pconv::app::Image& image) {
    std::vector<float> rgba;
    const unsigned colours = image.colourChannels();
    for (std::size_t i = 0; i < image.pixelCount(); ++i) {
        const std::size_t at = i * image.channels;
        for (unsigned c = 0; c < 3; ++c) rgba.push_back(255.0F * image.level(at + (colours == 1 ? 0 : c)));
        rgba.push_back(image.hasAlpha() ? 255.0F * image.level(at + colours) : 255.0F);
    }
    return rgba;
}

}  // namespace

int main(int count, char** arguments) {
    if (count != 4) {
        std::fprintf(stderr, "compare A B LEVELS\n");
        return 2;
    }
    try {
        const auto a = pconv::app::readImage(arguments[1], 1U << 27);
        const auto b = pconv::app::readImage(arguments[2], 1U << 27);
        if (a.width != b.width || a.height != b.height) {
            std::printf("%u x %u and %u x %u pixels\n", static_cast<unsigned>(a.width),
                        static_cast<unsigned>(a.height), static_cast<unsigned>(b.width),
                        static_cast<unsigned>(b.height));
            return 1;
        }
        const auto left = rgbaOf(a);
        const auto right = rgbaOf(b);
        float most = 0.0F;
        for (std::size_t i = 0; i < left.size(); ++i) most = std::max(most, std::abs(left[i] - right[i]));
        std::printf("at most %.3f levels apart\n", static_cast<double>(most));
        return most <= std::strtof(arguments[3], nullptr) ? 0 : 1;
    } catch (const std::exception& error) {
        std::printf("%s\n", error.what());
        return 1;
    }
}
