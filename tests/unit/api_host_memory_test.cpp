// The host runs out of memory at every allocation in turn: each call says so, changes nothing, and works when
// it is made again.
#include <cstdlib>
#include <functional>
#include <new>

#include "support/api.h"
#include "support/small_conv.h"

namespace {

// How many allocations of this thread still succeed; negative: all do.
thread_local int64_t allocations_left = -1;

bool allocationFails() {
    return allocations_left >= 0 && allocations_left-- == 0;
}

}  // namespace

void* operator new(size_t size) {
    void* memory = allocationFails() ? nullptr : std::malloc(size > 0 ? size : 1);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}

void operator delete(void* memory) noexcept {
    std::free(memory);
}

void operator delete(void* memory, size_t /*size*/) noexcept {
    std::free(memory);
}

void* operator new(size_t size, std::align_val_t alignment, const std::nothrow_t& /*tag*/) noexcept {
    const auto step = static_cast<size_t>(alignment);
    return allocationFails() ? nullptr : std::aligned_alloc(step, (size + step - 1) / step * step);
}

void operator delete(void* memory, std::align_val_t /*alignment*/) noexcept {
    std::free(memory);
}

namespace pconv::test {
namespace {

// The first allocation fails, then the second, and so on until the call gets what it needs; returns how often
// it had to be made.
int makeUntilItWorks(const char* name, const std::function<PconvStatus()>& call) {
    for (int allowed = 0; allowed < 10000; ++allowed) {
        allocations_left = allowed;
        const PconvStatus status = call();
        allocations_left = -1;
        if (status == PCONV_SUCCESS) return allowed;
        EXPECT_EQ(status, PCONV_ERROR_OUT_OF_MEMORY) << name << ": " << pconvGetLastError();
        EXPECT_STRNE(pconvGetLastError(), "") << name;
        if (status != PCONV_ERROR_OUT_OF_MEMORY) return -1;
    }
    ADD_FAILURE() << name << " never works";
    return -1;
}

void keepBalance(void* user, int64_t bytes) {
    *static_cast<int64_t*>(user) += bytes;
}

TEST(HostMemory, EveryCallSurvivesRunningOutOfIt) {
    openDevice("cpu");  // modules are opened once in a process
    int64_t balance = 0;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.allocation_callback = keepBalance;
    options.user = &balance;
    {
        OwnedDevice device;
        EXPECT_GT(makeUntilItWorks("CreateDevice",
                                   [&] { return pconvCreateDevice("cpu", &options, device.out()); }),
                  0);
        OwnedBuffer buffer;
        EXPECT_GT(makeUntilItWorks("CreateBuffer",
                                   [&] { return pconvCreateBuffer(device.get(), 256, buffer.out()); }),
                  0);
        float memory[4] = {};
        OwnedBuffer imported;
        EXPECT_GT(
            makeUntilItWorks(
                "ImportHostBuffer",
                [&] { return pconvImportHostBuffer(device.get(), memory, sizeof memory, imported.out()); }),
            0);
        EXPECT_EQ(balance, 256);
        PconvPartialConvDesc desc = smallDesc();
        desc.implementation = "cpu:reference";
        SmallConv small(device.get(), desc);
        small.update.reset();
        small.conv.reset();
        const int64_t before = balance;
        EXPECT_GT(makeUntilItWorks("CreateMaskUpdate",
                                   [&] {
                                       return pconvCreateMaskUpdate(device.get(), &small.desc, &small.mask,
                                                                    small.update.out());
                                   }),
                  0);
        EXPECT_GT(makeUntilItWorks(
                      "CreatePartialConv",
                      [&] { return pconvCreatePartialConv(device.get(), &small.desc, small.conv.out()); }),
                  0);
        EXPECT_GT(balance, before);
        makeUntilItWorks("ComputeMaskUpdate",
                         [&] { return pconvComputeMaskUpdate(small.update.get(), &small.mask); });
        makeUntilItWorks("SetPartialConvWeights", [&] {
            return pconvSetPartialConvWeights(small.conv.get(), &small.weight, &small.bias);
        });
        makeUntilItWorks("ForwardPartialConv", [&] { return small.forward(); });
        PconvImplementationInfo info = pconvDefaultImplementationInfo();
        makeUntilItWorks("GetImplementationInfo",
                         [&] { return pconvGetImplementationInfo(device.get(), 0, &small.desc, &info); });
        const std::vector<float> result = small.result();
        check(small.forward());
        EXPECT_EQ(small.result(), result);
    }
    EXPECT_EQ(balance, 0);
}

}  // namespace
}  // namespace pconv::test
