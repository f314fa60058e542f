// A host compiled with -ffast-math, for which no number is NaN: what it asks of the library holds all the
// same.
#include <cstring>
#include <pconv/pconv.hpp>

#include "support/api.h"

#if !defined(__FAST_MATH__)
#error "expected -ffast-math"
#endif

namespace pconv::test {
namespace {

float fromBits(uint32_t bits) {
    float value = 0;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

bool isFinite(float value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7F800000U) != 0x7F800000U;
}

constexpr uint32_t kNan = 0x7FC00000;
constexpr uint32_t kInfinity = 0x7F800000;

TEST(FastMath, NoNumberInAHoleReachesTheOutput) {
    const pconv::Device device("cpu");
    std::vector<float> pixels(4 * 16 * 16, 0.5F);
    std::vector<uint8_t> valid(16 * 16, 1);
    for (size_t i = 0; i < valid.size(); i += 3) {
        valid[i] = 0;
        for (size_t c = 0; c < 4; ++c) pixels[c * 256 + i] = fromBits(c % 2 == 0 ? kNan : kInfinity);
    }
    for (const char* row : {"cpu:onednn", "cpu:reference"}) {
        PconvPartialConvDesc desc = pconv::PartialConvDesc::same(1, 4, 8, {16, 16}, 3);
        desc.implementation = row;
        const pconv::Tensor input(device, {1, 4, 16, 16}, pixels);
        const pconv::Tensor mask(device, {1, 1, 16, 16}, valid);
        const pconv::Tensor weight(device, {8, 4, 3, 3}, std::vector<float>(8 * 4 * 9, 0.25F));
        const pconv::Tensor output(device, {1, 8, 16, 16});
        const pconv::MaskUpdate update(device, desc, pconv::Mask(mask.view()));
        const pconv::PartialConv conv(device, desc);
        conv.setWeights(weight.view(), pconv::Tensor(device, {8}, std::vector<float>(8, 1.0F)).view());
        conv.forward(update, input.view(), output.view());
        for (const float value : output.read<float>()) ASSERT_TRUE(isFinite(value)) << row;
    }
}

TEST(FastMath, NoNumberIsRefusedWhereOneIsWanted) {
    const pconv::Device device("cpu");
    PconvPartialConvDesc desc = pconv::PartialConvDesc::same(1, 4, 8, {16, 16}, 3);
    desc.eps = static_cast<double>(fromBits(kNan));
    OwnedPartialConv conv;
    EXPECT_INVALID(pconvCreatePartialConv(device.get(), &desc, conv.out()), "eps");
    desc.eps = 0;
    desc.negative_slope = static_cast<decltype(desc.negative_slope)>(fromBits(kInfinity));
    EXPECT_INVALID(pconvCreatePartialConv(device.get(), &desc, conv.out()), "negative_slope");
}

}  // namespace
}  // namespace pconv::test
