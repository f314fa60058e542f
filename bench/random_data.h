// Random numbers and masks to measure with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "conv_shape.h"

inline std::vector<float> randomValues(const std::vector<int64_t>& dims, std::mt19937& random) {
    std::uniform_real_distribution<float> value(-1, 1);
    std::vector<float> values(static_cast<size_t>(ConvShape::count(dims)));
    std::generate(values.begin(), values.end(), [&] { return value(random); });
    return values;
}

inline std::vector<uint8_t> randomBits(const std::vector<int64_t>& dims, std::mt19937& random) {
    std::vector<uint8_t> bits(static_cast<size_t>(ConvShape::count(dims)));
    std::generate(bits.begin(), bits.end(), [&] { return static_cast<uint8_t>(random() & 1U); });
    return bits;
}
