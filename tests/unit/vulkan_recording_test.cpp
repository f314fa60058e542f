// What of Vulkan's recordings cannot be seen from outside: one submission each, cut where the device must not
// get more work at once, with as many descriptor sets as it takes.
#include "recording_chain.h"
#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

using VulkanRecordings = VulkanTest;

TEST_F(VulkanRecordings, AreOneSubmission) {
    const auto device = open();
    test::Chain chain(*device, vulkanDirect(), 1);
    chain.writeInput(1);
    for (const int rounds : {1, 40}) {
        const auto recording = device->record([&] {
            for (int i = 0; i < rounds; ++i) chain.enqueue();
        });
        device->wait();
        const size_t before = device->stream().submissions();
        recording->submit();
        device->wait();
        EXPECT_EQ(device->stream().submissions(), before + 1);
    }
}

TEST_F(VulkanRecordings, AreCutWhereWorkIsLimited) {
    std::vector<std::vector<uint8_t>> results;
    std::vector<size_t> cuts;
    for (const char* work : {"1000000000", "30000"}) {
        const test::ScopedEnvironment lowered("PCONV_VULKAN_MAX_WORK", work);
        const auto device = open();
        test::Chain chain(*device, vulkanDirect(), 1);
        chain.writeInput(1);
        const auto recording = device->record([&] { chain.enqueue(); });
        chain.poisonResults();
        device->wait();
        const size_t before = device->stream().submissions();
        recording->submit();
        recording->submit();
        cuts.push_back(device->stream().submissions() - before);
        results.push_back(chain.results());
    }
    EXPECT_TRUE(results[0] == results[1]);
    EXPECT_EQ(cuts[0], 2U);
    EXPECT_GT(cuts[1], 4U);
}

TEST_F(VulkanRecordings, ThatFailGiveBackAllTheyHeld) {
    const auto device = open();
    test::Chain chain(*device, vulkanDirect(), 1);
    chain.writeInput(1);
    chain.enqueue();
    device->wait();
    const size_t used = host_.used;
    const auto passing = device->allocate(1 << 16);
    const std::weak_ptr<Buffer> watched = passing;
    auto held = passing;
    EXPECT_THROW(device->record([&] {
        chain.enqueue();
        device->stream().use(static_cast<VulkanBuffer&>(*held));
        device->stream().fill(static_cast<VulkanBuffer&>(*held), 1 << 16, 0);
        fail(PCONV_ERROR_UNSUPPORTED, "no");
    }),
                 Error);
    held.reset();
    EXPECT_EQ(watched.use_count(), 1);
    EXPECT_EQ(host_.used, used + (1 << 16));
}

TEST_F(VulkanRecordings, TheQueueHasAClock) {
    const auto device = open();
    const auto timer = device->makeTimer();
    if (timer == nullptr) GTEST_SKIP() << "this queue has no timestamps";
    const auto buffer = device->allocate(1 << 24);
    auto& memory = static_cast<VulkanBuffer&>(*buffer);
    const auto fillTimes = [&](int times) {
        timer->start();
        for (int i = 0; i < times; ++i) {
            device->stream().beginOperation();
            device->stream().use(memory);
            device->stream().fill(memory, 1 << 24, 1);
            device->stream().endOperation();
        }
        timer->stop();
        return timer->seconds();
    };
    fillTimes(1);
    EXPECT_GT(fillTimes(100), fillTimes(1));
}

}  // namespace

}  // namespace pconv::vulkan
