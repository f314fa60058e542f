// Conversion on the device against that of the host, bit for bit.
#include <cmath>
#include <cstring>

#include "core/half.h"
#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

constexpr std::array<int64_t, 5> kDims{4, 16, 2, 32, 16};  // 65536 elements
constexpr std::array<int64_t, 5> kContiguous{16384, 1024, 512, 16, 1};
constexpr std::array<int64_t, 5> kChannelsLast{16384, 1, 8192, 256, 16};
constexpr size_t kCount = 65536;

class VulkanConvert : public VulkanTest {
  protected:
    template <typename To, typename From>
    std::vector<To> convert(const std::vector<From>& values, DataType from, DataType to,
                            const std::array<int64_t, 5>& to_strides) {
        const TensorRef source{device_->allocate(kCount * sizeof(From)), 0, from, kContiguous};
        const TensorRef destination{device_->allocate(kCount * sizeof(To)), 0, to, to_strides};
        device_->write(*source.buffer, 0, values.data(), kCount * sizeof(From));
        device_->convert(source, destination, kDims);
        std::vector<To> result(kCount);
        device_->read(*destination.buffer, 0, result.data(), kCount * sizeof(To));
        return result;
    }

    std::unique_ptr<VulkanDevice> device_;
};

// Magnitudes from far below the smallest half to beyond the largest, and ties.
std::vector<float> manyFloats() {
    std::vector<float> values = randomValues(kCount, 3);
    for (size_t i = 0; i < kCount; ++i) {
        values[i] = std::ldexp(values[i], static_cast<int>(i % 48) - 30);
        if (i % 5 == 0) values[i] = std::round(values[i] * 2048) / 2048;
    }
    values[0] = 65519.996F;
    values[1] = 65520.0F;
    values[2] = -HUGE_VALF;
    values[3] = 0x1p-25F;
    values[4] = 0x1.000002p-25F;
    values[5] = -0.0F;
    return values;
}

TEST_F(VulkanConvert, EveryF16ComesAndGoes) {
    device_ = open();
    if (!device_->capabilities().storage_f16) GTEST_SKIP() << "no 16-bit storage";
    std::vector<uint16_t> all(kCount);
    for (size_t i = 0; i < kCount; ++i) all[i] = static_cast<uint16_t>(i);
    const auto floats = convert<float>(all, DataType::f16, DataType::f32, kContiguous);
    for (size_t i = 0; i < kCount; ++i) {
        const float expected = floatFromF16(all[i]);
        if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(floats[i])) << i;
        } else {
            ASSERT_EQ(std::memcmp(&floats[i], &expected, sizeof expected), 0) << i;
        }
    }
    const auto back = convert<uint16_t>(floats, DataType::f32, DataType::f16, kContiguous);
    for (size_t i = 0; i < kCount; ++i)
        if (!std::isnan(floats[i])) {
            ASSERT_EQ(back[i], all[i]);
        }
}

TEST_F(VulkanConvert, RoundsToTheNearestAsTheHostDoes) {
    device_ = open();
    if (!device_->capabilities().storage_f16) GTEST_SKIP() << "no 16-bit storage";
    const std::vector<float> values = manyFloats();
    const auto half = convert<uint16_t>(values, DataType::f32, DataType::f16, kContiguous);
    const auto brain = convert<uint16_t>(values, DataType::f32, DataType::bf16, kContiguous);
    for (size_t i = 0; i < kCount; ++i) {
        ASSERT_EQ(half[i], f16FromFloat(values[i])) << values[i];
        ASSERT_EQ(brain[i], bf16FromFloat(values[i])) << values[i];
    }
}

TEST_F(VulkanConvert, StridesMayDiffer) {
    const std::vector<float> values = manyFloats();
    for (const char* range : {"134217728", "5000"}) {
        const test::ScopedEnvironment lowered("PCONV_VULKAN_MAX_RANGE", range);
        device_ = open();
        const auto turned = convert<float>(values, DataType::f32, DataType::f32, kChannelsLast);
        for (int64_t i = 0; i < static_cast<int64_t>(kCount); ++i) {
            int64_t to = 0;
            int64_t rest = i;
            for (size_t d = 0; d < 5; ++d) {
                to += rest / kContiguous[d] * kChannelsLast[d];
                rest %= kContiguous[d];
            }
            ASSERT_EQ(turned[static_cast<size_t>(to)], values[static_cast<size_t>(i)]);
        }
    }
}

}  // namespace

}  // namespace pconv::vulkan
