// Memory that a program's own Vulkan device shares with pconv's by a file descriptor.
#include <unistd.h>

#include <cstring>
#include <string>

#include "pconv/pconv.h"
#include "support/small_conv.h"
#include "vulkan_fixture.h"
#include "vulkan_host.h"

namespace pconv::test {
namespace {

class SharedVulkanMemory : public OnVulkanHost {
  protected:
    void SetUp() override {
        OnVulkanHost::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        device_ = openDevice("vulkan");
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        check(pconvGetInfoOfDevice(device_.get(), &info));
        if (std::string(info.features).find("fd-import") == std::string::npos)
            GTEST_SKIP() << "this device shares no memory by file descriptors";
    }
    void TearDown() override {
        device_.reset();
        OnVulkanHost::TearDown();
    }

    OwnedDevice device_;
};

OwnedBuffer import(const OwnedDevice& device, PconvExternalMemory memory, uint64_t offset, size_t bytes) {
    OwnedBuffer buffer;
    memory.offset = offset;
    check(pconvImportExternalBuffer(device.get(), &memory, bytes, buffer.out()));
    return buffer;
}

TEST_F(SharedVulkanMemory, EachSeesWhatTheOtherWrites) {
    constexpr size_t kBytes = 4096;
    const VulkanHost::Shared shared = host_->makeShared(kBytes + 64);
    std::memset(shared.memory.mapped, 0x55, kBytes + 64);
    OwnedBuffer buffer = import(device_, shared.external, 64, kBytes);
    OwnedBuffer again = import(device_, shared.external, 0, 64);
    close(static_cast<int>(shared.external.handle));  // it was the caller's all the time
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), kBytes), std::vector<uint8_t>(kBytes, 0x55));
    std::vector<uint8_t> bytes(kBytes);
    for (size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<uint8_t>(i * 7 + i / 251);
    check(pconvWriteBuffer(buffer.get(), 0, bytes.data(), kBytes));
    check(pconvWait(device_.get()));
    EXPECT_EQ(std::memcmp(shared.memory.mapped + 64, bytes.data(), kBytes), 0);
    EXPECT_EQ(shared.memory.mapped[63], 0x55);
    std::memset(shared.memory.mapped, 0x11, 64);
    EXPECT_EQ(readBuffer<uint8_t>(again.get(), 64), std::vector<uint8_t>(64, 0x11));
    void* pointer = &bytes;
    check(pconvGetBufferPointer(buffer.get(), &pointer));
    EXPECT_EQ(pointer, nullptr);
}

TEST_F(SharedVulkanMemory, AConvolutionReadsAndWritesIt) {
    constexpr size_t kInput = 240 * sizeof(float), kOutput = 360 * sizeof(float);
    SmallConv conv(device_.get());
    conv.prepare();
    const std::vector<float> values = ramp(240, 0.25F, -1.5F);
    check(pconvWriteBuffer(conv.input_buffer.get(), 0, values.data(), kInput));
    check(conv.forward());
    const std::vector<float> expected = conv.result();

    const VulkanHost::Shared shared = host_->makeShared(kInput + 16 + kOutput);
    std::memcpy(shared.memory.mapped, values.data(), kInput);
    const OwnedBuffer in = import(device_, shared.external, 0, kInput);
    const OwnedBuffer out = import(device_, shared.external, kInput + 16, kOutput);
    close(static_cast<int>(shared.external.handle));
    conv.input.buffer = in.get();
    conv.output.buffer = out.get();
    check(conv.forward());
    check(pconvWait(device_.get()));
    EXPECT_EQ(std::memcmp(shared.memory.mapped + kInput + 16, expected.data(), kOutput), 0);
}

TEST_F(SharedVulkanMemory, ItOutlivesWhoAllocatedIt) {
    const VulkanHost::Shared shared = host_->makeShared(256);
    std::memset(shared.memory.mapped, 0x33, 256);
    const OwnedBuffer buffer = import(device_, shared.external, 0, 256);
    close(static_cast<int>(shared.external.handle));
    EXPECT_EQ(host_->close(), "");
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), 256), std::vector<uint8_t>(256, 0x33));
}

TEST_F(SharedVulkanMemory, ItMayBeOneBuffersAlone) {
    const VulkanHost::Shared shared = host_->makeShared(1000, true);
    std::memset(shared.memory.mapped, 0x44, 1000);
    const OwnedBuffer buffer = import(device_, shared.external, 200, 400);
    close(static_cast<int>(shared.external.handle));
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), 400), std::vector<uint8_t>(400, 0x44));
    const std::vector<uint8_t> bytes(400, 0x77);
    check(pconvWriteBuffer(buffer.get(), 0, bytes.data(), 400));
    check(pconvWait(device_.get()));
    EXPECT_EQ(std::memcmp(shared.memory.mapped + 200, bytes.data(), 400), 0);
    EXPECT_EQ(shared.memory.mapped[199], 0x44);
    EXPECT_EQ(shared.memory.mapped[600], 0x44);
}

TEST_F(SharedVulkanMemory, WhatIsWrongIsNamed) {
    const VulkanHost::Shared shared = host_->makeShared(256);
    PconvBuffer buffer = nullptr;
    const auto refused = [&](const PconvExternalMemory& memory, size_t bytes, const std::string& part) {
        EXPECT_INVALID(pconvImportExternalBuffer(device_.get(), &memory, bytes, &buffer), part);
        EXPECT_EQ(buffer, nullptr);
    };
    EXPECT_INVALID(pconvImportExternalBuffer(device_.get(), nullptr, 4, &buffer), "memory is null");
    refused(pconvDefaultExternalMemory(), 4, "memory->handle is -1; expected a file descriptor");
    PconvExternalMemory memory = shared.external;
    memory.offset = 6;
    refused(memory, 4, "offset is 6; expected a multiple of 4");
    memory.offset = memory.size - 4;
    refused(memory, 8, "reach beyond memory->size");
    memory = shared.external;
    memory.memory_type = 40;
    refused(memory, 4, "memory->memory_type is 40");
    memory = shared.external;
    setEnum(memory.handle_type, 2);
    refused(memory, 4, "memory->handle_type is 2");
    memory = shared.external;
    memory.handle_type = PCONV_MEMORY_HANDLE_TYPE_OPAQUE_WIN32;
    EXPECT_FAULT(pconvImportExternalBuffer(device_.get(), &memory, 4, &buffer), PCONV_ERROR_UNSUPPORTED,
                 "shared by file descriptors on this system, not by HANDLEs");
    memory = shared.external;
    memory.handle = dup(static_cast<int>(shared.external.handle));
    close(static_cast<int>(memory.handle));
    refused(memory, 4, "which is no open file descriptor");
    close(static_cast<int>(shared.external.handle));

    const OwnedDevice cpu = openDevice("cpu");
    EXPECT_FAULT(pconvImportExternalBuffer(cpu.get(), &shared.external, 4, &buffer), PCONV_ERROR_UNSUPPORTED,
                 "this device imports no memory of other devices");
    OwnedDevice adopted;
    const PconvNativeDevice native = host_->native();
    check(pconvAdoptDevice(&native, nullptr, adopted.out()));
    EXPECT_FAULT(pconvImportExternalBuffer(adopted.get(), &shared.external, 4, &buffer),
                 PCONV_ERROR_UNSUPPORTED, "import the VkBuffer over it");
    EXPECT_EQ(buffer, nullptr);
}

}  // namespace
}  // namespace pconv::test
