// A device that fails: each call of Vulkan in turn, in all that an application does. Where a call of pconv
// succeeds its results are right, where one fails it says so in a line; and once work may be lost, the device
// says so for ever after.
#include "faults.h"

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <set>

#include "support/api.h"

namespace pconv::test {
namespace {

constexpr int32_t kOutOfDeviceMemory = -2;
constexpr int32_t kDeviceLost = -4;

// The library that stands between; the backend has opened it by then.
template <typename Function>
Function shim(const char* name) {
    static void* const library = dlopen(std::getenv("PCONV_VULKAN_LOADER"), RTLD_NOW | RTLD_LOCAL);
    return reinterpret_cast<Function>(dlsym(library, name));
}

void failCall(const char* function, uint32_t call, int32_t result) {
    shim<decltype(&pconvShimFail)>("pconvShimFail")(function, call, result);
}

bool hasFailed() {
    return shim<decltype(&pconvShimHasFailed)>("pconvShimHasFailed")() != 0;
}

constexpr int64_t kChannels = 2;
constexpr int64_t kSize = 12;
constexpr size_t kCount = kChannels * kSize * kSize;

// y = 1/2 x0 + 2 x1 + 1 where the mask is 1, and a training step.
class Application {
  public:
    explicit Application(PconvDevice device) : device_(device) {}

    // Everything, from the first buffer to the last byte read; throws what a call of pconv fails with.
    void run() {
        PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
        desc.in_channels = kChannels;
        desc.out_channels = 1;
        desc.input_size[0] = desc.input_size[1] = kSize;
        desc.kernel[0] = desc.kernel[1] = 1;
        desc.training = 1;
        std::vector<float> values(kCount);
        for (size_t i = 0; i < kCount; ++i) values[i] = static_cast<float>(i % 31) - 7;
        std::vector<uint8_t> valid(kSize * kSize, 1);
        for (size_t i = 0; i < valid.size(); i += 5) valid[i] = 0;
        const OwnedBuffer x = makeBuffer(device_, values);
        const OwnedBuffer w = makeBuffer(device_, std::vector<float>{0.5F, 2});
        const OwnedBuffer b = makeBuffer(device_, std::vector<float>{1});
        const OwnedBuffer m = makeBuffer(device_, valid);
        const OwnedBuffer y = makeBuffer(device_, std::vector<float>(kSize * kSize, -99));
        const OwnedBuffer dx = makeBuffer(device_, std::vector<float>(kCount, -99));
        const OwnedBuffer dw = makeBuffer(device_, std::vector<float>(kChannels, -99));
        const OwnedBuffer db = makeBuffer(device_, std::vector<float>(1, -99));
        const auto image = [](const OwnedBuffer& buffer, int64_t channels) {
            return makeTensor(buffer.get(), PCONV_DATA_TYPE_F32, {1, channels, kSize, kSize});
        };
        const PconvTensor input = image(x, kChannels), output = image(y, 1),
                          grad_input = image(dx, kChannels);
        const PconvTensor weight = makeTensor(w.get(), PCONV_DATA_TYPE_F32, {1, kChannels, 1, 1});
        const PconvTensor grad_weight = makeTensor(dw.get(), PCONV_DATA_TYPE_F32, {1, kChannels, 1, 1});
        const PconvTensor bias = makeTensor(b.get(), PCONV_DATA_TYPE_F32, {1});
        const PconvTensor grad_bias = makeTensor(db.get(), PCONV_DATA_TYPE_F32, {1});
        PconvMaskSegment segment{makeTensor(m.get(), PCONV_DATA_TYPE_U8, {1, 1, kSize, kSize}), 1};
        PconvMask mask = pconvDefaultMask();
        mask.segment_count = 1;
        mask.segments = &segment;
        OwnedMaskUpdate update;
        OwnedPartialConv conv;
        check(pconvCreateMaskUpdate(device_, &desc, &mask, update.out()));
        check(pconvCreatePartialConv(device_, &desc, conv.out()));
        check(pconvComputeMaskUpdate(update.get(), &mask));
        check(pconvSetPartialConvWeights(conv.get(), &weight, &bias));
        for (int i = 0; i < 3; ++i) check(pconvForwardPartialConv(conv.get(), update.get(), &input, &output));
        PconvGradients gradients = pconvDefaultGradients();
        gradients.grad_input = &grad_input;
        gradients.grad_weight = &grad_weight;
        gradients.grad_bias = &grad_bias;
        check(pconvBackwardPartialConv(conv.get(), update.get(), &input, &output, &gradients));
        check(pconvWait(device_));
        results = {readBuffer<float>(y.get(), kSize * kSize), readBuffer<float>(dx.get(), kCount),
                   readBuffer<float>(dw.get(), kChannels), readBuffer<float>(db.get(), 1)};
    }

    std::vector<std::vector<float>> results;

  private:
    PconvDevice device_;
};

// What goes wrong with these leaves work lost or half enqueued.
const std::set<std::string>& fatal() {
    static const std::set<std::string> names{
        "vkQueueSubmit",        "vkWaitForFences",       "vkGetFenceStatus",
        "vkResetFences",        "vkResetDescriptorPool", "vkResetCommandPool",
        "vkBeginCommandBuffer", "vkEndCommandBuffer",    "vkAllocateDescriptorSets"};
    return names;
}

class VulkanFaults : public ::testing::Test {
  protected:
    void SetUp() override {
        OwnedDevice device;
        if (pconvCreateDevice("vulkan", nullptr, device.out()) != PCONV_SUCCESS)
            GTEST_SKIP() << pconvGetLastError();
        Application application(device.get());
        application.run();
        expected_ = application.results;
        ASSERT_EQ(expected_[0][1], 0.5F * -6 + 2 * (144 % 31 + 1 - 7) + 1);
    }

    // Each call of `function` fails once, in an application of its own.
    void failEach(const std::string& function, int32_t result, uint32_t step = 1) {
        OwnedDevice device;
        for (uint32_t call = 1;; call += step) {
            SCOPED_TRACE(function + ", call " + std::to_string(call));
            if (device.get() == nullptr) device = openDevice("vulkan");
            Application application(device.get());
            failCall(function.c_str(), call, result);
            std::string line;
            PconvStatus status = PCONV_SUCCESS;
            try {
                application.run();
            } catch (const CallFailed& failure) {
                status = failure.status();
                line = pconvGetLastError();
            }
            const bool failed = hasFailed();
            failCall(nullptr, 0, 0);
            if (!failed) {
                EXPECT_GT(call, 1U) << "there was no such call";
                EXPECT_EQ(status, PCONV_SUCCESS) << line;
                return;
            }
            if (status == PCONV_SUCCESS) {
                EXPECT_EQ(application.results, expected_) << "a fault went unnoticed, and the data is wrong";
            } else {
                EXPECT_EQ(line.find('\n'), std::string::npos) << line;
                EXPECT_NE(line, "");
            }
            if (fatal().count(function) != 0) {
                if (status != PCONV_SUCCESS) {
                    EXPECT_EQ(status, PCONV_ERROR_DEVICE) << line;
                    EXPECT_NE(line.find(function), std::string::npos) << line;
                }
                staysLost(device.get(), function);
                device.reset();
            } else {
                // It was only that: the same again is right.
                Application again(device.get());
                again.run();
                EXPECT_EQ(again.results, expected_);
            }
            if (HasFailure()) return;
        }
    }

    void staysLost(PconvDevice device, const std::string& function) {
        for (int i = 0; i < 10; ++i) {
            OwnedBuffer buffer;
            EXPECT_FAULT(pconvCreateBuffer(device, 16, buffer.out()), PCONV_ERROR_DEVICE,
                         function + " failed");
            EXPECT_FAULT(pconvWait(device), PCONV_ERROR_DEVICE, "takes no more");
        }
    }

    std::vector<std::vector<float>> expected_;
};

TEST_F(VulkanFaults, OfSubmissionsLeaveTheDeviceLost) {
    failEach("vkQueueSubmit", kDeviceLost);
    failEach("vkQueueSubmit", kOutOfDeviceMemory, 3);
}

TEST_F(VulkanFaults, OfWaitsLeaveTheDeviceLost) {
    failEach("vkWaitForFences", kDeviceLost);
}

TEST_F(VulkanFaults, OfAllocationsPass) {
    failEach("vkAllocateMemory", kOutOfDeviceMemory);
    failEach("vkCreateBuffer", kOutOfDeviceMemory);
}

TEST_F(VulkanFaults, OfAnyOtherCallAreSaidOrHarmless) {
    for (const char* function : {"vkAllocateDescriptorSets", "vkBeginCommandBuffer", "vkEndCommandBuffer",
                                 "vkResetCommandPool", "vkResetDescriptorPool", "vkResetFences"})
        failEach(function, kOutOfDeviceMemory, 3);
    for (const char* function : {"vkBindBufferMemory", "vkMapMemory"}) failEach(function, kOutOfDeviceMemory);
}

// What a lost device's application still holds.
TEST_F(VulkanFaults, WhatALostDeviceMadeCanBeUsedAndReleased) {
    const OwnedDevice device = openDevice("vulkan");
    const OwnedBuffer buffer = makeBuffer(device.get(), std::vector<float>(64, 1));
    failCall("vkQueueSubmit", 1, kDeviceLost);
    const std::vector<char> large(size_t{3} << 20);
    OwnedBuffer target;
    ASSERT_EQ(pconvCreateBuffer(device.get(), large.size(), target.out()), PCONV_SUCCESS);
    Application application(device.get());
    EXPECT_THROW(application.run(), CallFailed);
    ASSERT_TRUE(hasFailed());
    std::vector<float> values(64, -1);
    for (int i = 0; i < 10; ++i) {
        EXPECT_FAULT(pconvReadBuffer(buffer.get(), 0, values.data(), 256), PCONV_ERROR_DEVICE,
                     "vkQueueSubmit");
        EXPECT_FAULT(pconvWriteBuffer(buffer.get(), 0, values.data(), 256), PCONV_ERROR_DEVICE,
                     "vkQueueSubmit");
        EXPECT_FAULT(pconvWriteBuffer(target.get(), 0, large.data(), large.size()), PCONV_ERROR_DEVICE,
                     "vkQueueSubmit");
    }
    EXPECT_EQ(values, std::vector<float>(64, -1));
}

}  // namespace
}  // namespace pconv::test
