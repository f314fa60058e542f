// Memory of another device in the CUDA backend: on the stand-ins, where such memory is a file.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "core/registry.h"
#include "recording_chain.h"
#include "stand_in.h"

namespace pconv::test {

namespace {

constexpr size_t kBytes = 8192;

class CudaExternalMemory : public testing::Test {
  protected:
    void SetUp() override {
        const BackendEntry& backend = probeBackend("cuda");
        ASSERT_NE(backend.module, nullptr) << backend.reason;
        device_ = backend.module->open(0, host_);
        descriptor_ = memfd_create("external", MFD_CLOEXEC);
        ASSERT_GE(descriptor_, 0);
        ASSERT_EQ(ftruncate(descriptor_, kBytes), 0);
        mapped_ =
            static_cast<char*>(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor_, 0));
        ASSERT_NE(mapped_, MAP_FAILED);
        memory_.handle = descriptor_;
        memory_.size = kBytes;
    }
    void TearDown() override {
        if (descriptor_ >= 0) close(descriptor_);
        if (mapped_ != nullptr) munmap(mapped_, kBytes);
    }
    // How many descriptors the process has; what leaks one is seen by it.
    static int openDescriptors() {
        int count = 0;
        for (int i = 0; i < 256; ++i) count += fcntl(i, F_GETFD) >= 0 ? 1 : 0;
        return count;
    }

    OpenHost host_;
    std::unique_ptr<Device> device_;
    ExternalMemory memory_;
    int descriptor_ = -1;
    char* mapped_ = nullptr;
};

TEST_F(CudaExternalMemory, EachSeesWhatTheOtherWrites) {
    std::memset(mapped_, 0x55, kBytes);
    const int before = openDescriptors();
    memory_.offset = 64;
    std::shared_ptr<Buffer> buffer = device_->importExternal(memory_, 4096);
    EXPECT_EQ(openDescriptors(), before + 1);
    close(descriptor_);  // it was the caller's all the time
    descriptor_ = -1;
    std::vector<char> read(4096);
    device_->read(*buffer, 0, read.data(), read.size());
    EXPECT_EQ(read, std::vector<char>(4096, 0x55));
    std::vector<char> bytes(4096);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
    device_->write(*buffer, 0, bytes.data(), bytes.size());
    device_->wait();
    EXPECT_EQ(std::memcmp(mapped_ + 64, bytes.data(), bytes.size()), 0);
    EXPECT_EQ(mapped_[63], 0x55);
    EXPECT_EQ(mapped_[64 + 4096], 0x55);
    EXPECT_EQ(buffer->hostPointer(), nullptr);
    EXPECT_EQ(host_.used, 0U);  // it is not this device's to count
    buffer.reset();
    EXPECT_EQ(openDescriptors(), before - 1);
    EXPECT_EQ(mapped_[64], bytes[0]);
}

TEST_F(CudaExternalMemory, KernelsWorkInIt) {
    const std::array<int64_t, 5> dims{1, 2, 1, 3, 4};
    std::vector<float> values(24), expected;
    for (size_t i = 0; i < 24; ++i) values[i] = 0.5F * static_cast<float>(i) - 3;
    for (size_t c = 0; c < 2; ++c)
        for (size_t y = 0; y < 6; ++y)
            for (size_t x = 0; x < 8; ++x) expected.push_back(values[c * 12 + y / 2 * 4 + x / 2]);
    std::memcpy(mapped_, values.data(), values.size() * sizeof(float));
    TensorRef source, destination;
    source.buffer = device_->importExternal(memory_, 96);
    source.strides = {24, 12, 12, 4, 1};
    memory_.offset = 512;
    destination.buffer = device_->importExternal(memory_, expected.size() * sizeof(float));
    destination.strides = {96, 48, 48, 8, 1};
    device_->upsample(source, destination, dims, {1, 2, 2});
    device_->wait();
    EXPECT_EQ(std::memcmp(mapped_ + 512, expected.data(), expected.size() * sizeof(float)), 0);
}

TEST_F(CudaExternalMemory, NothingIsLeftOfAnImportThatFails) {
    const int before = openDescriptors();
    const auto refused = [&](const std::string& part) {
        try {
            device_->importExternal(memory_, 64);
            ADD_FAILURE() << "imported; expected: " << part;
        } catch (const Error& error) {
            EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
        }
        EXPECT_EQ(openDescriptors(), before);
    };
    for (const char* call : {"cudaImportExternalMemory", "cudaExternalMemoryGetMappedBuffer"}) {
        cuda_stand_in::failNext(call);
        refused("memory of another device");
    }
    memory_.size = kBytes + 1;
    refused("importing memory of another device");
    memory_.size = kBytes;
    memory_.handle = 255;
    refused("memory->handle is 255, which is no open file descriptor");
    memory_.handle_type = PCONV_MEMORY_HANDLE_TYPE_OPAQUE_WIN32;
    refused("importing memory of another device");
    // The device goes on.
    memory_.handle_type = PCONV_MEMORY_HANDLE_TYPE_OPAQUE_FD;
    memory_.handle = descriptor_;
    EXPECT_NE(device_->importExternal(memory_, 64), nullptr);
}

}  // namespace

}  // namespace pconv::test
