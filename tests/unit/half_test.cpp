// The 16-bit conversions, against the definition of the formats rather than against another conversion.
#include "core/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace {

// The value that binary16 bits stand for, from the format's definition.
double f16Value(uint16_t bits) {
    const int exponent = (bits >> 10) & 31;
    const int fraction = bits & 1023;
    const double sign = (bits & 0x8000) != 0 ? -1 : 1;
    if (exponent == 31) return fraction != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
    return sign * (exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25));
}

// Whether `bits` is the nearest of its neighbours to `value`, even where two are as near.
template <typename ValueOf>
bool isNearest(uint16_t bits, float value, const ValueOf& value_of) {
    const double error = std::fabs(value_of(bits) - static_cast<double>(value));
    for (const int step : {-1, 1}) {
        const auto other = static_cast<uint16_t>(bits + step);
        const double other_value = value_of(other);
        if (!std::isfinite(other_value) || (other & 0x8000) != (bits & 0x8000)) continue;
        const double other_error = std::fabs(other_value - static_cast<double>(value));
        if (other_error < error || (other_error == error && (bits & 1) != 0)) return false;
    }
    return true;
}

double bf16Value(uint16_t bits) {
    return static_cast<double>(pconv::floatOf(static_cast<uint32_t>(bits) << 16));
}

TEST(Half, EveryF16ReadsAsItsValueAndComesBack) {
    for (uint32_t i = 0; i < 65536; ++i) {
        const auto bits = static_cast<uint16_t>(i);
        const float value = pconv::floatFromF16(bits);
        if (std::isnan(f16Value(bits))) {
            EXPECT_TRUE(std::isnan(value)) << i;
            EXPECT_TRUE(std::isnan(pconv::floatFromF16(pconv::f16FromFloat(value)))) << i;
            continue;
        }
        ASSERT_EQ(static_cast<double>(value), f16Value(bits)) << i;
        ASSERT_EQ(pconv::f16FromFloat(value), bits) << i;
    }
}

TEST(Half, FloatsRoundToTheNearestF16) {
    for (uint64_t i = 0; i <= 0x477FEFFFU; i += 1009)  // up to the largest that does not become infinite
        ASSERT_TRUE(isNearest(pconv::f16FromFloat(pconv::floatOf(static_cast<uint32_t>(i))),
                              pconv::floatOf(static_cast<uint32_t>(i)), f16Value))
            << i;
    EXPECT_EQ(pconv::f16FromFloat(65504.0F), 0x7BFF);
    EXPECT_EQ(pconv::f16FromFloat(65519.996F), 0x7BFF);
    EXPECT_EQ(pconv::f16FromFloat(65520.0F), 0x7C00);
    EXPECT_EQ(pconv::f16FromFloat(-1e30F), 0xFC00);
    EXPECT_EQ(pconv::f16FromFloat(-0.0F), 0x8000);
}

TEST(Half, FloatsRoundToTheNearestBf16) {
    for (uint64_t i = 0; i <= 0x7F7F0000U; i += 1009)
        ASSERT_TRUE(isNearest(pconv::bf16FromFloat(pconv::floatOf(static_cast<uint32_t>(i))),
                              pconv::floatOf(static_cast<uint32_t>(i)), bf16Value))
            << i;
    EXPECT_EQ(pconv::bf16FromFloat(std::numeric_limits<float>::infinity()), 0x7F80);
    // A NaN whose payload lies in the bits that are dropped must not become infinite.
    EXPECT_TRUE(std::isnan(pconv::floatFromBf16(pconv::bf16FromFloat(pconv::floatOf(0x7F800001U)))));
}

}  // namespace
