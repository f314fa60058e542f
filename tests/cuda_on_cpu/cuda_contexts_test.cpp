// Devices and contexts: what the backend does on one device leaves the host's current device and contexts as
// they are, and makes no context on any other; failures of cuDNN take no other row along; nothing is freed
// too early where streams run late. On the stand-ins, with two devices.
#include <cuda.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include "core/registry.h"
#include "recording_chain.h"
#include "stand_in.h"

namespace pconv::test {

namespace {

template <typename Function>
Function driverFunction(const char* name) {
    void* found = nullptr;
    cudaDriverEntryPointQueryResult result{};
    cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result);
    return reinterpret_cast<Function>(found);
}

class CudaContexts : public testing::Test {
  protected:
    void SetUp() override {
        ASSERT_NE(backend().module, nullptr) << backend().reason;
        int count = 0;
        ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
        ASSERT_EQ(count, 2) << "PCONV_FAKE_DEVICES is not 2";
    }
    static const BackendEntry& backend() { return probeBackend("cuda"); }
    // All that a device is asked for, on the legacy stream of device 1.
    void useSecondDevice() {
        NativeDevice native;
        native.cuda_device = 1;
        std::shared_ptr<Buffer> outlives;
        std::vector<uint8_t> memory(8192);
        {
            const auto device = backend().module->adopt(native, host_);
            for (size_t row = 0; row < 3; ++row) {
                Chain chain(*device, *device->implementations().at(row), 1);
                chain.writeInput(3);
                chain.enqueue();
                const std::vector<uint8_t> expected = chain.results();
                const auto recording = device->record([&] { chain.enqueue(); });
                chain.poisonResults();
                recording->submit();
                EXPECT_EQ(chain.results(), expected);
            }
            const auto timer = device->makeTimer();
            timer->start();
            timer->stop();
            EXPECT_GE(timer->seconds(), 0);
            const auto imported = device->importHost(memory.data(), memory.size());
            outlives = device->allocate(4096);
        }
        outlives.reset();
        EXPECT_EQ(host_.used, 0U);
    }

    OpenHost host_;
};

TEST_F(CudaContexts, OfNoOtherDeviceAreMade) {
    useSecondDevice();
    EXPECT_EQ(cuda_stand_in::contextDepth(), 0U);
    int device = -1;
    EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
    EXPECT_EQ(device, 0);
    EXPECT_TRUE(cuda_stand_in::hasContext(1));
    EXPECT_FALSE(cuda_stand_in::hasContext(0));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(CudaContexts, TheHostsOwnStaysCurrent) {
    const auto push = driverFunction<decltype(&cuCtxPushCurrent)>("cuCtxPushCurrent");
    const auto pop = driverFunction<decltype(&cuCtxPopCurrent)>("cuCtxPopCurrent");
    const auto get = driverFunction<decltype(&cuCtxGetCurrent)>("cuCtxGetCurrent");
    const CUcontext own = cuda_stand_in::newContext(0);
    ASSERT_EQ(push(own), CUDA_SUCCESS);
    useSecondDevice();
    CUcontext current = nullptr;
    EXPECT_EQ(get(&current), CUDA_SUCCESS);
    EXPECT_EQ(current, own);
    EXPECT_EQ(cuda_stand_in::contextDepth(), 1U);
    ASSERT_EQ(pop(&current), CUDA_SUCCESS);
    EXPECT_FALSE(cuda_stand_in::hasContext(0));
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

// ---- Where cuDNN fails oddly ----

struct CudnnFaults : CudaContexts {
    void SetUp() override {
        CudaContexts::SetUp();
        device_ = backend().module->open(1, host_);
    }
    bool supports(size_t row, std::string& reason) {
        return device_->implementations().at(row)->supports(*device_, Chain::firstDesc(), reason);
    }
    std::unique_ptr<Device> device_;
};

TEST_F(CudnnFaults, LeaveTheOtherRows) {
    std::string reason;
    for (const char* call : {"cudnnCreate", "graph"}) {
        device_ = backend().module->open(1, host_);
        cuda_stand_in::failNext(call);
        EXPECT_FALSE(supports(0, reason)) << call;
        EXPECT_NE(reason.find("cuDNN, "), std::string::npos) << reason;
        EXPECT_TRUE(supports(1, reason)) << reason;
        EXPECT_TRUE(supports(2, reason)) << reason;
        EXPECT_TRUE(supports(0, reason)) << call << " failed once, not for ever: " << reason;
    }
}

TEST_F(CudnnFaults, APlanThatCannotBeWrittenDownServes) {
    cuda_stand_in::failNext("plan to JSON");
    std::string reason;
    EXPECT_TRUE(supports(0, reason)) << reason;
    EXPECT_FALSE(cuda_stand_in::failsNow("plan to JSON")) << "the plan came from the disk";
}

}  // namespace

}  // namespace pconv::test
