// The CUDA device from outside: that the module says why there is none, and, where there is one, that it
// works on the host's own stream and memory. What needs a GPU skips without one.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <random>

#include "support/cuda.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

TEST(CudaModule, LoadsOnAnyMachineAndSaysWhyThereIsNoDevice) {
    const PconvBackendInfo info = cudaBackend();
    const std::string reason = info.reason;
    EXPECT_EQ(reason.find("module"), std::string::npos) << reason;
    if (const char* expected = std::getenv("PCONV_EXPECT_NO_CUDA"); expected != nullptr) {
        EXPECT_EQ(info.device_count, 0);
        EXPECT_NE(reason.find(expected), std::string::npos) << reason;
    }
    if (info.device_count > 0) return;
    EXPECT_TRUE(reason.find("the CUDA driver could not be loaded: ") == 0 ||
                reason.find("the CUDA driver is for") == 0 || reason.find("cudaError") == 0 ||
                reason.find("no CUDA-capable device") == 0 ||
                reason.find("compute capability") != std::string::npos)
        << reason;
    PconvDevice device = nullptr;
    EXPECT_FAULT(pconvCreateDevice("cuda", nullptr, &device), PCONV_ERROR_NO_DEVICE,
                 "no cuda device: " + reason);
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = "cuda";
    EXPECT_FAULT(pconvAdoptDevice(&native, nullptr, &device), PCONV_ERROR_NO_DEVICE,
                 "no cuda device: " + reason);
    EXPECT_EQ(device, nullptr);
}

using OnCuda = OnCudaDevice<testing::Test>;

void checkCuda(cudaError_t status) {
    if (status != cudaSuccess) throw std::runtime_error(cudaGetErrorString(status));
}

class HostStream {
  public:
    HostStream() { checkCuda(cudaStreamCreate(&stream_)); }
    HostStream(const HostStream&) = delete;
    HostStream& operator=(const HostStream&) = delete;
    ~HostStream() { cudaStreamDestroy(stream_); }
    cudaStream_t get() const { return stream_; }

  private:
    cudaStream_t stream_ = nullptr;
};

class HostMemory {
  public:
    explicit HostMemory(size_t bytes) { checkCuda(cudaMalloc(&data_, bytes)); }
    HostMemory(const HostMemory&) = delete;
    HostMemory& operator=(const HostMemory&) = delete;
    ~HostMemory() { cudaFree(data_); }
    void* get() const { return data_; }
    uint64_t handle() const { return reinterpret_cast<uintptr_t>(data_); }

  private:
    void* data_ = nullptr;
};

OwnedDevice adopt(cudaStream_t stream, const PconvDeviceOptions* options = nullptr) {
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = "cuda";
    native.cuda_stream = stream;
    OwnedDevice device;
    check(pconvAdoptDevice(&native, options, device.out()));
    return device;
}

std::vector<uint8_t> randomBytes(size_t count) {
    std::mt19937 random(7);
    std::vector<uint8_t> bytes(count);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    return bytes;
}

TEST_F(OnCuda, BytesComeBackWhateverTheirNumber) {
    const OwnedDevice device = openDevice("cuda");
    for (const size_t size : {size_t{1}, size_t{4097}, size_t{1} << 20, (size_t{25} << 20) + 3}) {
        const std::vector<uint8_t> bytes = randomBytes(size);
        const OwnedBuffer buffer = makeBuffer(device.get(), bytes);
        EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), size), bytes);
    }
    const std::vector<uint8_t> bytes = randomBytes(1000);
    const OwnedBuffer buffer = makeBuffer(device.get(), std::vector<uint8_t>(2000));
    for (size_t i = 0; i < bytes.size(); ++i) check(pconvWriteBuffer(buffer.get(), 500 + i, &bytes[i], 1));
    EXPECT_EQ(readBuffer<uint8_t>(buffer.get(), 1000, 500), bytes);
}

TEST_F(OnCuda, MemoryOfTheHostIsUsedInPlace) {
    const OwnedDevice device = openDevice("cuda");
    std::vector<uint8_t> memory = randomBytes(1 << 16);
    OwnedBuffer buffer;
    check(pconvImportHostBuffer(device.get(), memory.data(), memory.size(), buffer.out()));
    void* pointer = nullptr;
    check(pconvGetBufferPointer(buffer.get(), &pointer));
    EXPECT_EQ(pointer, memory.data());
    const std::vector<uint8_t> other = randomBytes(100);
    check(pconvWriteBuffer(buffer.get(), 50, other.data(), other.size()));
    check(pconvWait(device.get()));
    EXPECT_TRUE(std::equal(other.begin(), other.end(), memory.begin() + 50));
    buffer.reset();
    check(pconvImportHostBuffer(device.get(), memory.data(), memory.size(), buffer.out()));
}

TEST_F(OnCuda, MemoryOfTheHostIsSharedByAllWhoImportIt) {
    const OwnedDevice device = openDevice("cuda");
    std::vector<uint8_t> memory(1 << 16);
    OwnedBuffer whole;
    OwnedBuffer again;
    OwnedBuffer part;
    check(pconvImportHostBuffer(device.get(), memory.data(), memory.size(), whole.out()));
    check(pconvImportHostBuffer(device.get(), memory.data(), memory.size(), again.out()));
    check(pconvImportHostBuffer(device.get(), memory.data() + 4096, 4096, part.out()));
    whole.reset();
    const std::vector<uint8_t> bytes = randomBytes(100);
    check(pconvWriteBuffer(again.get(), 50, bytes.data(), bytes.size()));
    again.reset();
    check(pconvWriteBuffer(part.get(), 0, bytes.data(), bytes.size()));
    check(pconvWait(device.get()));
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory.begin() + 50));
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), memory.begin() + 4096));
    part.reset();
    check(pconvImportHostBuffer(device.get(), memory.data(), memory.size(), whole.out()));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(OnCuda, TensorsInTheHostsDeviceMemoryAreAlignedToTheirElements) {
    const HostStream stream;
    const OwnedDevice device = adopt(stream.get());
    const HostMemory input(241 * sizeof(float));
    SmallConv conv(device.get());
    conv.prepare();
    OwnedBuffer odd;
    check(pconvImportNativeBuffer(device.get(), input.handle() + 2, 0, 240 * sizeof(float), odd.out()));
    conv.input.buffer = odd.get();
    EXPECT_INVALID(pconvForwardPartialConv(conv.conv.get(), conv.update.get(), &conv.input, &conv.output),
                   "input lies in memory that is not aligned to its elements of 4 bytes");
}

TEST_F(OnCuda, NothingIsAllocatedInACaptureOfTheHosts) {
    const HostStream stream;
    const OwnedDevice device = adopt(stream.get());
    SmallConv conv(device.get());
    conv.prepare();
    check(conv.forward());
    checkCuda(cudaStreamBeginCapture(stream.get(), cudaStreamCaptureModeRelaxed));
    PconvBuffer buffer = nullptr;
    EXPECT_FAULT(pconvCreateBuffer(device.get(), 4096, &buffer), PCONV_ERROR_UNSUPPORTED,
                 "no memory can be allocated while the host captures the adopted stream");
    check(conv.forward());
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaStreamEndCapture(stream.get(), &graph), cudaSuccess);
    checkCuda(cudaGraphDestroy(graph));
}

TEST_F(OnCuda, AllMemoryIsAccountedForAndLimited) {
    struct Account {
        int64_t bytes = 0;
        int64_t most = 0;
    } account;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.memory_limit = 16 << 20;
    options.user = &account;
    options.allocation_callback = [](void* user, int64_t bytes) {
        auto& a = *static_cast<Account*>(user);
        a.bytes += bytes;
        a.most = std::max(a.most, a.bytes);
    };
    {
        const OwnedDevice device = openDevice("cuda", &options);
        PconvBuffer buffer = nullptr;
        EXPECT_FAULT(pconvCreateBuffer(device.get(), (16 << 20) + 1, &buffer), PCONV_ERROR_OUT_OF_MEMORY,
                     "memory");
        EXPECT_EQ(buffer, nullptr);
        SmallConv conv(device.get());
        conv.prepare();
        check(conv.forward());
        conv.result();
    }
    EXPECT_EQ(account.bytes, 0);
    EXPECT_GT(account.most, 0);
    EXPECT_LE(account.most, 16 << 20);
}

// The host writes on its stream, pconv computes, the host reads on its stream: nobody waits in between.
TEST_F(OnCuda, AnAdoptedStreamKeepsTheOrderOfTheCalls) {
    const OwnedDevice cpu = openDevice("cpu");
    SmallConv reference(cpu.get());
    reference.prepare();
    check(reference.forward());
    const std::vector<float> expected = reference.result();

    const HostStream stream;
    const OwnedDevice device = adopt(stream.get());
    SmallConv conv(device.get());
    const HostMemory input(240 * sizeof(float));
    const HostMemory output(16 + 360 * sizeof(float));
    OwnedBuffer in;
    OwnedBuffer out;
    check(pconvImportNativeBuffer(device.get(), input.handle(), 0, 240 * sizeof(float), in.out()));
    check(pconvImportNativeBuffer(device.get(), output.handle(), 16, 360 * sizeof(float), out.out()));
    conv.input.buffer = in.get();
    conv.output.buffer = out.get();
    conv.prepare();
    const std::vector<float> x = ramp(240, 0.25F, -1.5F);
    std::vector<float> y(360);
    for (int round = 0; round < 20; ++round) {
        checkCuda(cudaMemsetAsync(input.get(), 0xFF, 240 * sizeof(float), stream.get()));
        checkCuda(
            cudaMemcpyAsync(input.get(), x.data(), 240 * sizeof(float), cudaMemcpyDefault, stream.get()));
        check(conv.forward());
        checkCuda(cudaMemcpyAsync(y.data(), static_cast<char*>(output.get()) + 16, 360 * sizeof(float),
                                  cudaMemcpyDefault, stream.get()));
        checkCuda(cudaMemsetAsync(output.get(), 0xFF, 16 + 360 * sizeof(float), stream.get()));
    }
    checkCuda(cudaStreamSynchronize(stream.get()));
    for (size_t i = 0; i < y.size(); ++i)
        EXPECT_NEAR(y[i], expected[i], 1e-4F * (1 + std::abs(expected[i]))) << i;
}

TEST_F(OnCuda, WhatIsNotTheDevicesIsRefused) {
    PconvNativeDevice native = pconvDefaultNativeDevice();
    native.backend = "cuda";
    native.cuda_device = 1000;
    PconvDevice device = nullptr;
    EXPECT_FAULT(pconvAdoptDevice(&native, nullptr, &device), PCONV_ERROR_NO_DEVICE,
                 "native->cuda_device is 1000");
    EXPECT_EQ(device, nullptr);
    const HostStream stream;
    const OwnedDevice adopted = adopt(stream.get());
    std::vector<uint8_t> memory(4096);
    PconvBuffer buffer = nullptr;
    EXPECT_INVALID(
        pconvImportNativeBuffer(adopted.get(), reinterpret_cast<uintptr_t>(memory.data()), 0, 4096, &buffer),
        "handle is no pointer to CUDA device memory");
    EXPECT_EQ(buffer, nullptr);
}

TEST_F(OnCuda, TheHostsCurrentDeviceAndStreamStayItsOwn) {
    const HostStream stream;
    int before = -1;
    checkCuda(cudaGetDevice(&before));
    {
        const OwnedDevice device = adopt(stream.get());
        SmallConv conv(device.get());
        conv.prepare();
        check(conv.forward());
    }
    int after = -1;
    checkCuda(cudaGetDevice(&after));
    EXPECT_EQ(after, before);
    EXPECT_EQ(cudaStreamSynchronize(stream.get()), cudaSuccess);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(OnCuda, HandlesAreReleasedInAnyOrderWhileWorkRuns) {
    OwnedDevice device = openDevice("cuda");
    auto conv = std::make_unique<SmallConv>(device.get());
    conv->prepare();
    for (int i = 0; i < 50; ++i) check(conv->forward());
    device.reset();
    conv.reset();
    const OwnedDevice again = openDevice("cuda");
    SmallConv other(again.get());
    other.prepare();
    check(other.forward());
    EXPECT_EQ(pconvWait(again.get()), PCONV_SUCCESS);
}

// Every row, 100 times: the same bits.
TEST_F(OnCuda, AHundredRunsAreBitEqual) {
    const OwnedDevice device = openDevice("cuda");
    int32_t count = 0;
    check(pconvGetImplementationCount(device.get(), &count));
    for (int32_t i = 0; i < count; ++i) {
        PconvPartialConvDesc desc = smallDesc();
        PconvImplementationInfo row = pconvDefaultImplementationInfo();
        check(pconvGetImplementationInfo(device.get(), i, &desc, &row));
        if (row.supported == 0) continue;
        desc.implementation = row.name;
        SmallConv conv(device.get(), desc);
        conv.prepare();
        check(conv.forward());
        const std::vector<float> first = conv.result();
        for (int run = 1; run < 100; ++run) {
            check(conv.forward());
            const std::vector<float> next = conv.result();
            ASSERT_EQ(std::memcmp(first.data(), next.data(), first.size() * sizeof(float)), 0) << row.name;
        }
    }
}

}  // namespace
}  // namespace pconv::test
