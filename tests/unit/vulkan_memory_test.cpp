// The Vulkan backend's memory: free ranges, blocks, buffers, imports, and their account.
#include <algorithm>
#include <random>

#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

TEST(FreeRanges, TakesTheFirstAlignedRangeThatFits) {
    FreeRanges ranges(1000);
    VkDeviceSize offset = 0;
    ASSERT_TRUE(ranges.take(10, 1, offset));
    EXPECT_EQ(offset, 0U);
    ASSERT_TRUE(ranges.take(100, 64, offset));
    EXPECT_EQ(offset, 64U);
    ASSERT_TRUE(ranges.take(50, 2, offset));
    EXPECT_EQ(offset, 10U);
    EXPECT_FALSE(ranges.take(900, 1, offset));
    ASSERT_TRUE(ranges.take(836, 4, offset));
    EXPECT_EQ(offset, 164U);
    EXPECT_FALSE(ranges.take(5, 1, offset));
    EXPECT_TRUE(ranges.take(4, 1, offset));
}

TEST(FreeRanges, MergesNeighboursInAnyOrder) {
    std::vector<VkDeviceSize> order{0, 1, 2, 3};
    do {
        FreeRanges ranges(400);
        VkDeviceSize offset = 0;
        for (int i = 0; i < 4; ++i) ASSERT_TRUE(ranges.take(100, 1, offset));
        for (const VkDeviceSize i : order) {
            EXPECT_FALSE(ranges.allFree());
            ranges.give(i * 100, 100);
        }
        EXPECT_TRUE(ranges.allFree());
        EXPECT_TRUE(ranges.take(400, 1, offset));
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST(FreeRanges, NeverGivesAByteTwice) {
    std::mt19937 engine(7);
    FreeRanges ranges(4096);
    std::vector<bool> used(4096, false);
    std::vector<std::pair<VkDeviceSize, VkDeviceSize>> taken;
    for (int step = 0; step < 5000; ++step) {
        const VkDeviceSize size = 1 + engine() % 200;
        const VkDeviceSize alignment = VkDeviceSize{1} << (engine() % 8);
        VkDeviceSize offset = 0;
        if (engine() % 2 == 0 && ranges.take(size, alignment, offset)) {
            ASSERT_EQ(offset % alignment, 0U);
            ASSERT_LE(offset + size, 4096U);
            for (VkDeviceSize i = offset; i < offset + size; ++i) {
                ASSERT_FALSE(used[i]);
                used[i] = true;
            }
            taken.emplace_back(offset, size);
        } else if (!taken.empty()) {
            const size_t index = engine() % taken.size();
            const auto [start, length] = taken[index];
            ranges.give(start, length);
            std::fill_n(used.begin() + static_cast<std::ptrdiff_t>(start), length, false);
            taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(index));
        }
    }
    for (const auto& [start, length] : taken) ranges.give(start, length);
    EXPECT_TRUE(ranges.allFree());
}

using VulkanMemory = VulkanTest;

TEST_F(VulkanMemory, SmallBuffersShareBlocksAndBlocksGoWithTheLast) {
    const auto device = open();
    const size_t before = device->memory().blockCount();
    std::vector<std::shared_ptr<Buffer>> buffers;
    for (int i = 0; i < 200; ++i) buffers.push_back(device->allocate(1000));
    EXPECT_EQ(device->memory().blockCount(), before + 1);
    EXPECT_EQ(host_.used, 200U * 1000U);
    buffers.push_back(device->allocate(size_t{5} << 20));
    EXPECT_EQ(device->memory().blockCount(), before + 2);
    buffers.clear();
    EXPECT_EQ(device->memory().blockCount(), before);
    EXPECT_EQ(host_.used, 0U);
}

TEST_F(VulkanMemory, ALimitIsAnErrorThatLeavesNothingBehind) {
    const auto device = open();
    host_.limit = 10000;
    const auto small = device->allocate(6000);
    EXPECT_THROW(device->allocate(6000), Error);
    EXPECT_EQ(host_.used, 6000U);
    EXPECT_NO_THROW(device->allocate(4000));
}

TEST_F(VulkanMemory, MoreThanTheDeviceHasIsAnError) {
    const auto device = open();
    try {
        device->allocate(size_t{1} << 46);
        FAIL() << "64 TiB were allocated";
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_OUT_OF_MEMORY) << error.what();
    }
    EXPECT_EQ(host_.used, 0U);
}

void copyThere(VulkanDevice& device, size_t bytes) {
    const auto buffer = device.allocate(bytes + 3);
    std::vector<uint8_t> source(bytes);
    for (size_t i = 0; i < bytes; ++i) source[i] = static_cast<uint8_t>(i * 31 + i / 251);
    device.write(*buffer, 3, source.data(), bytes);
    std::vector<uint8_t> back(bytes, 0);
    device.read(*buffer, 3, back.data(), bytes);
    EXPECT_EQ(back, source) << bytes << " bytes";
}

TEST_F(VulkanMemory, CopiesArriveWithAndWithoutStaging) {
    for (const size_t bytes : {size_t{1}, size_t{4095}, size_t{9} << 20}) copyThere(*open(), bytes);
    const test::ScopedEnvironment staging("PCONV_VULKAN_STAGING", "1");
    for (const size_t bytes : {size_t{1}, size_t{4095}, size_t{9} << 20}) copyThere(*open(), bytes);
}

TEST_F(VulkanMemory, AWriteWaitsItsTurnBehindWorkThatReads) {
    for (const bool staged : {false, true}) {
        std::unique_ptr<test::ScopedEnvironment> staging;
        if (staged) staging = std::make_unique<test::ScopedEnvironment>("PCONV_VULKAN_STAGING", "1");
        const auto device = open();
        const size_t count = size_t{1} << 20;
        const auto first =
            makeTensor(*device, std::vector<float>(count, 1.0F), {1, 1, 1, 1, int64_t{1} << 20});
        const auto second = device->allocate(count * sizeof(float));
        Stream& stream = device->stream();
        auto& from = static_cast<VulkanBuffer&>(*first.buffer);
        auto& to = static_cast<VulkanBuffer&>(*second);
        stream.beginOperation();
        stream.use(from);
        stream.use(to);
        stream.copy(from, to, {{from.base(), to.base(), count * sizeof(float)}});
        stream.endOperation();
        const std::vector<float> later(count, 2.0F);
        device->write(*first.buffer, 0, later.data(), count * sizeof(float));
        std::vector<float> back(count);
        device->read(*second, 0, back.data(), count * sizeof(float));
        EXPECT_EQ(back, std::vector<float>(count, 1.0F));
        device->read(*first.buffer, 0, back.data(), count * sizeof(float));
        EXPECT_EQ(back, later);
    }
}

TEST_F(VulkanMemory, ImportedHostMemoryIsUsedInPlace) {
    const auto device = open();
    if (device->capabilities().import_alignment == 0) GTEST_SKIP() << "this device cannot import host memory";
    std::vector<float> memory(5000, 3.0F);  // at no page's start
    const auto imported = device->importHost(memory.data() + 1, 4000 * sizeof(float));
    EXPECT_EQ(imported->hostPointer(), memory.data() + 1);
    const auto copy = device->allocate(4000 * sizeof(float));
    auto& from = static_cast<VulkanBuffer&>(*imported);
    auto& to = static_cast<VulkanBuffer&>(*copy);
    memory[1] = 7.0F;
    device->stream().beginOperation();
    device->stream().use(from);
    device->stream().use(to);
    device->stream().copy(from, to, {{from.base(), to.base(), 4000 * sizeof(float)}});
    device->stream().endOperation();
    std::vector<float> back(4000);
    device->read(*copy, 0, back.data(), 4000 * sizeof(float));
    EXPECT_EQ(back[0], 7.0F);
    EXPECT_EQ(back[3999], 3.0F);
    EXPECT_EQ(host_.used, 4000 * sizeof(float));
}

TEST_F(VulkanMemory, BuffersMayGoWhileWorkUsesThem) {
    const auto device = open();
    const auto keep = device->allocate(4000);
    for (int i = 0; i < 100; ++i) {
        const auto passing = device->allocate(4000);
        auto& from = static_cast<VulkanBuffer&>(*passing);
        auto& to = static_cast<VulkanBuffer&>(*keep);
        device->stream().beginOperation();
        device->stream().use(from);
        device->stream().use(to);
        device->stream().fill(from, 4000, static_cast<uint32_t>(i));
        device->stream().barrier();
        device->stream().copy(from, to, {{from.base(), to.base(), 4000}});
        device->stream().endOperation();
    }
    std::vector<uint32_t> back(1000);
    device->read(*keep, 0, back.data(), 4000);
    EXPECT_EQ(back, std::vector<uint32_t>(1000, 99));
    device->wait();
    EXPECT_EQ(host_.used, 4000U);
}

}  // namespace

}  // namespace pconv::vulkan
