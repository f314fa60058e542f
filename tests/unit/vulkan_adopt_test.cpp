// A Vulkan device of the host's own: what the host submits before and after pconv's work, its buffers, its
// handles afterwards, and what is refused.
#include <cstddef>
#include <cstring>
#include <string>

#include "recording_chain.h"
#include "support/small_conv.h"
#include "vulkan_fixture.h"
#include "vulkan_host.h"

namespace pconv::test {
namespace {

class OnHostsVulkan : public OnVulkanHost {
  protected:
    OwnedDevice adopt() { return adopt(host_->native()); }
    static OwnedDevice adopt(const PconvNativeDevice& native) {
        OwnedDevice device;
        check(pconvAdoptDevice(&native, nullptr, device.out()));
        return device;
    }
    static OwnedBuffer import(const OwnedDevice& device, const VulkanHost::Memory& memory, size_t offset,
                              size_t bytes) {
        OwnedBuffer buffer;
        check(pconvImportNativeBuffer(device.get(), memory.handle(), offset, bytes, buffer.out()));
        return buffer;
    }
};

constexpr size_t kInput = 240 * sizeof(float);
constexpr size_t kOutput = 360 * sizeof(float);

// The small convolution of this input, on whatever device.
std::vector<float> expectedOf(SmallConv& conv, const std::vector<float>& input) {
    check(pconvWriteBuffer(conv.input_buffer.get(), 0, input.data(), kInput));
    check(conv.forward());
    return conv.result();
}

bool sameBits(const std::vector<float>& values, const char* memory) {
    return std::memcmp(reinterpret_cast<const char*>(values.data()), memory, values.size() * sizeof(float)) ==
           0;
}

std::vector<float> inputOf(int round) {
    return ramp(240, 0.25F + 0.01F * static_cast<float>(round), -1.5F);
}

// More rounds than submissions are kept: the host copies in, pconv computes, the host copies out and spoils
// all. Nobody waits in between.
TEST_F(OnHostsVulkan, TheQueueKeepsTheOrderOfTheCalls) {
    const OwnedDevice own = openDevice("vulkan");
    SmallConv reference(own.get());
    reference.prepare();

    constexpr int kRounds = 80;
    const auto from = host_->makeBuffer(kRounds * kInput);
    const auto to = host_->makeBuffer(kRounds * kOutput);
    const auto x = host_->makeBuffer(kInput + 16);
    const auto y = host_->makeBuffer(kOutput + 100);
    for (int round = 0; round < kRounds; ++round)
        std::memcpy(from.mapped + static_cast<size_t>(round) * kInput, inputOf(round).data(), kInput);

    OwnedDevice device = adopt();
    {
        SmallConv conv(device.get());
        const OwnedBuffer in = import(device, x, 16, kInput);
        const OwnedBuffer out = import(device, y, 100, kOutput);
        conv.input.buffer = in.get();
        conv.output.buffer = out.get();
        conv.prepare();
        for (int round = 0; round < kRounds; ++round) {
            const auto r = static_cast<size_t>(round);
            host_->copy(from, r * kInput, x, 16, kInput);
            check(conv.forward());
            host_->copy(y, 100, to, r * kOutput, kOutput);
            host_->fill(x, 0, kInput + 16, 0xFFFFFFFF);
            host_->fill(y, 0, kOutput + 100, 0xFFFFFFFF);
        }
    }
    device.reset();
    host_->wait();
    for (int round = 0; round < kRounds; ++round)
        ASSERT_TRUE(
            sameBits(expectedOf(reference, inputOf(round)), to.mapped + static_cast<size_t>(round) * kOutput))
            << round;
}

// A mask and weights of the host's, read in the call that would otherwise gather them for later.
TEST_F(OnHostsVulkan, MasksAndWeightsAreReadInTurnToo) {
    const OwnedDevice own = openDevice("vulkan");
    SmallConv reference(own.get());
    reference.prepare();
    const std::vector<float> expected = expectedOf(reference, inputOf(0));
    const auto mask = readBuffer<uint8_t>(reference.mask_buffer.get(), 60);
    const auto weight = readBuffer<float>(reference.weight_buffer.get(), 108);

    const auto from = host_->makeBuffer(60 + 432);
    std::memcpy(from.mapped, mask.data(), 60);
    std::memcpy(from.mapped + 60, weight.data(), 432);
    const auto memory = host_->makeBuffer(64 + 432);
    const OwnedDevice device = adopt();
    SmallConv conv(device.get());
    const OwnedBuffer mask_buffer = import(device, memory, 4, 60);
    const OwnedBuffer weight_buffer = import(device, memory, 64, 432);
    conv.segment.planes.buffer = mask_buffer.get();
    conv.weight.buffer = weight_buffer.get();
    for (int round = 0; round < 3; ++round) {
        host_->copy(from, 0, memory, 4, 60 + 432);
        conv.prepare();
        host_->fill(memory, 0, 64 + 432, 0);
        EXPECT_EQ(expectedOf(conv, inputOf(0)), expected);
    }
}

TEST_F(OnHostsVulkan, BuffersOfTheHostAreWrittenAndRead) {
    const OwnedDevice device = adopt();
    const size_t size = (size_t{9} << 20) + 4;  // more than what copies go through
    const auto memory = host_->makeBuffer(size + 24);
    std::memset(memory.mapped, 0x55, size + 24);
    const OwnedBuffer buffer = import(device, memory, 12, size);
    size_t told = 0;
    check(pconvGetBufferSize(buffer.get(), &told));
    EXPECT_EQ(told, size);
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
    check(pconvWriteBuffer(buffer.get(), 0, bytes.data(), size));
    const uint8_t odd[] = {1, 2, 3};
    check(pconvWriteBuffer(buffer.get(), 5, odd, sizeof odd));
    std::copy(std::begin(odd), std::end(odd), bytes.begin() + 5);
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), size - 3, 3),
              std::vector<uint8_t>(bytes.begin() + 3, bytes.end()));
    EXPECT_EQ(std::memcmp(memory.mapped + 12, bytes.data(), size), 0);
    for (size_t i = 0; i < 12; ++i) {
        EXPECT_EQ(memory.mapped[i], 0x55);
        EXPECT_EQ(memory.mapped[12 + size + i], 0x55);
    }
}

// Everything is released while work runs; the host reads what it left, and goes on.
TEST_F(OnHostsVulkan, HandlesServeOnAfterTheRelease) {
    const auto y = host_->makeBuffer(kOutput);
    for (int round = 0; round < 3; ++round) {
        std::memset(y.mapped, 0xFF, kOutput);
        std::vector<float> expected;
        {
            OwnedDevice device = adopt();
            SmallConv conv(device.get());
            const OwnedBuffer out = import(device, y, 0, kOutput);
            conv.prepare();
            expected = expectedOf(conv, inputOf(round));
            conv.output.buffer = out.get();
            for (int i = 0; i < 10; ++i) check(conv.forward());
            device.reset();
        }
        EXPECT_TRUE(sameBits(expected, y.mapped));
        const auto copy = host_->makeBuffer(kOutput);
        host_->copy(y, 0, copy, 0, kOutput);
        host_->wait();
        EXPECT_TRUE(sameBits(expected, copy.mapped));
    }
}

TEST_F(OnHostsVulkan, OnlyWhatIsToldOfTheOptionalIsUsed) {
    PconvPartialConvDesc half = smallDesc();
    half.data_type = PCONV_DATA_TYPE_F16;
    for (const bool told : {false, true}) {
        PconvNativeDevice native = host_->native();
        native.vulkan_16bit_storage = told ? 1 : 0;
        const OwnedDevice device = adopt(native);
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        check(pconvGetInfoOfDevice(device.get(), &info));
        const bool expected = told && host_->storage16();
        EXPECT_EQ(std::string(info.features).find("f16-storage") != std::string::npos, expected);
        EXPECT_EQ(std::string(info.features).find("host-import"), std::string::npos);
        PconvPartialConv conv = nullptr;
        if (!expected) {
            EXPECT_FAULT(pconvCreatePartialConv(device.get(), &half, &conv), PCONV_ERROR_UNSUPPORTED,
                         "16-bit");
        } else {
            check(pconvCreatePartialConv(device.get(), &half, &conv));
            pconvReleasePartialConv(conv);
            const OwnedBuffer wide = makeBuffer(device.get(), std::vector<float>{1, 2.5F, -3, 0.1F});
            const OwnedBuffer narrow = makeBuffer(device.get(), 8);
            const PconvTensor source = makeTensor(wide.get(), PCONV_DATA_TYPE_F32, {1, 1, 4});
            const PconvTensor result = makeTensor(narrow.get(), PCONV_DATA_TYPE_F16, {1, 1, 4});
            check(pconvConvertTensor(&source, &result));
            EXPECT_EQ(readBuffer<uint16_t>(narrow.get(), 4),
                      (std::vector<uint16_t>{0x3C00, 0x4100, 0xC200, 0x2E66}));
        }
        alignas(4096) static char memory[4096];
        PconvBuffer buffer = nullptr;
        EXPECT_FAULT(pconvImportHostBuffer(device.get(), memory, sizeof memory, &buffer),
                     PCONV_ERROR_UNSUPPORTED, "cannot import host memory");
    }
}

TEST_F(OnHostsVulkan, WhatIsMissingOrWrongIsNamed) {
    PconvDevice device = nullptr;
    const auto refused = [&](const PconvNativeDevice& native, const std::string& part) {
        EXPECT_INVALID(pconvAdoptDevice(&native, nullptr, &device), part);
        EXPECT_EQ(device, nullptr);
    };
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = "vulkan";
    refused(native, "native->vulkan_instance is null");
    native.vulkan_instance = host_->native().vulkan_instance;
    refused(native, "native->vulkan_physical_device is null");
    native.vulkan_physical_device = host_->native().vulkan_physical_device;
    refused(native, "native->vulkan_device is null");
    native.vulkan_device = host_->native().vulkan_device;
    refused(native, "native->vulkan_queue is null");
    native = host_->native();
    native.vulkan_queue_family = 1000;
    refused(native, "native->vulkan_queue_family is 1000; the device has ");
    native = host_->native();
    native.vulkan_physical_device = native.vulkan_device;
    refused(native, "native->vulkan_physical_device is none of native->vulkan_instance's ");
}

TEST_F(OnHostsVulkan, BuffersThatCannotBeAreNamed) {
    const auto memory = host_->makeBuffer(4096);
    const OwnedDevice device = adopt();
    PconvBuffer buffer = nullptr;
    const auto refused = [&](size_t offset, size_t bytes, const std::string& part) {
        EXPECT_INVALID(pconvImportNativeBuffer(device.get(), memory.handle(), offset, bytes, &buffer), part);
        EXPECT_EQ(buffer, nullptr);
    };
    refused(2, 4, "offset is 2; expected a multiple of 4");
    refused(0, 7, "bytes is 7; expected a multiple of 4");
    refused(4096, 4, "offset 4096 and 4 bytes reach beyond the VkBuffer's 4096");
    refused(0, size_t{1} << 40, "beyond the VkBuffer's 4096");
    const OwnedDevice own = openDevice("vulkan");
    EXPECT_FAULT(pconvImportNativeBuffer(own.get(), memory.handle(), 0, 4, &buffer), PCONV_ERROR_UNSUPPORTED,
                 "this device is pconv's own");
    EXPECT_EQ(buffer, nullptr);
}

TEST_F(OnHostsVulkan, ItsClockServes) {
    const OwnedDevice device = adopt();
    PconvTimer timer = nullptr;
    check(pconvCreateTimer(device.get(), &timer));
    SmallConv conv(device.get());
    conv.prepare();
    check(pconvStartTimer(timer));
    for (int i = 0; i < 10; ++i) check(conv.forward());
    check(pconvStopTimer(timer));
    double seconds = -1;
    check(pconvGetTimerSeconds(timer, &seconds));
    pconvReleaseTimer(timer);
    EXPECT_GT(seconds, 0);
    EXPECT_LT(seconds, 60);
}

// Beneath the seam: recordings and both rows give the bits that they give on the library's own device.
TEST_F(OnHostsVulkan, RecordingsAndRowsGiveTheSameBits) {
    vulkan::CountingHost host;
    std::string reason;
    const auto lent = host_->lent();
    const auto theirs = std::make_unique<vulkan::VulkanDevice>(vulkan::Instance::borrow(host_->instance()),
                                                               host_->physical(), host, &lent);
    auto instance = vulkan::Instance::create(reason);
    ASSERT_NE(instance, nullptr) << reason;
    VkPhysicalDevice physical = instance->devices().front();
    const auto own = std::make_unique<vulkan::VulkanDevice>(std::move(instance), physical, host);
    std::vector<std::vector<uint8_t>> results;
    std::vector<std::vector<float>> rows;
    for (const auto& device : {own.get(), theirs.get()}) {
        Chain chain(*device, vulkan::vulkanDirect(), 1);
        chain.writeInput(1);
        const auto recording = device->record([&] { chain.enqueue(); });
        for (unsigned seed = 2; seed < 5; ++seed) {
            chain.poisonResults();
            chain.writeInput(seed);
            recording->submit();
            results.push_back(chain.results());
        }
        for (const Implementation* row : {&vulkan::vulkanDirect(), &vulkan::vulkanGemm()})
            rows.push_back(vulkan::runConvolution(*device, *row, vulkan::squareDesc(2, 5, 7, 13), 3));
    }
    for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(results[i] == results[3 + i]) << i;
    for (size_t i = 0; i < 2; ++i) EXPECT_TRUE(rows[i] == rows[2 + i]) << i;
}

// A call has submitted all it enqueued when it returns, whether the device is busy or not.
TEST_F(OnHostsVulkan, EveryOperationIsSubmittedAtOnce) {
    vulkan::CountingHost host;
    const auto lent = host_->lent();
    const auto device = std::make_unique<vulkan::VulkanDevice>(vulkan::Instance::borrow(host_->instance()),
                                                               host_->physical(), host, &lent);
    const auto buffer = device->createBuffer(size_t{1} << 20);
    const size_t before = device->stream().submissions();
    const std::vector<char> bytes(16);
    const auto target = host_->makeBuffer(16);
    const auto imported = device->importNative(target.handle(), 0, 16);
    for (size_t i = 1; i <= 20; ++i) {
        device->write(*imported, 0, bytes.data(), bytes.size());
        EXPECT_EQ(device->stream().submissions(), before + i);
    }
}

}  // namespace
}  // namespace pconv::test
