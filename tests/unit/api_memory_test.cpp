// What the C API holds in memory: the limit is kept, nothing is leaked, and handles go in any order.
#include <algorithm>
#include <array>
#include <numeric>

#include "support/api.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

struct Ledger {
    int64_t balance = 0;
    int64_t peak = 0;
    int calls = 0;
};

void keepBook(void* user, int64_t bytes) {
    auto& ledger = *static_cast<Ledger*>(user);
    ledger.balance += bytes;
    ledger.peak = std::max(ledger.peak, ledger.balance);
    ++ledger.calls;
}

PconvDeviceOptions watched(Ledger& ledger, uint64_t limit = 0) {
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.allocation_callback = keepBook;
    options.user = &ledger;
    options.memory_limit = limit;
    return options;
}

TEST(Memory, EveryAllocationIsReportedAndReleased) {
    Ledger ledger;
    const PconvDeviceOptions options = watched(ledger);
    {
        const OwnedDevice device = openDevice("cpu", &options);
        const OwnedBuffer buffer = makeBuffer(device.get(), 1000);
        EXPECT_GE(ledger.balance, 1000);
        std::array<char, 64> host{};
        OwnedBuffer imported;
        const int64_t before = ledger.balance;
        check(pconvImportHostBuffer(device.get(), host.data(), host.size(), imported.out()));
        EXPECT_EQ(ledger.balance, before);
        SmallConv small(device.get());
        small.prepare();
        check(small.forward());
    }
    EXPECT_GT(ledger.calls, 0);
    EXPECT_EQ(ledger.balance, 0);
}

TEST(Memory, TheLimitIsKeptAndFreedMemoryCanBeHadAgain) {
    Ledger ledger;
    const PconvDeviceOptions options = watched(ledger, 4096);
    const OwnedDevice device = openDevice("cpu", &options);
    OwnedBuffer first = makeBuffer(device.get(), 3000);
    PconvBuffer second = nullptr;
    EXPECT_FAULT(pconvCreateBuffer(device.get(), 2000, &second), PCONV_ERROR_OUT_OF_MEMORY,
                 "an allocation of 2000 bytes exceeds the device's memory limit; 3000 of 4096 are in use");
    EXPECT_EQ(second, nullptr);
    EXPECT_EQ(ledger.balance, 3000);
    first.reset();
    EXPECT_EQ(ledger.balance, 0);
    makeBuffer(device.get(), 4096);
    EXPECT_EQ(ledger.balance, 0);
}

// Every limit from nothing to enough: each allocation on the way fails once.
TEST(Memory, RunningIntoTheLimitAnywhereLeaksNothing) {
    Ledger unlimited;
    const PconvDeviceOptions free = watched(unlimited);
    {
        const OwnedDevice device = openDevice("cpu", &free);
        SmallConv small(device.get());
        small.prepare();
        check(small.forward());
    }
    int refused = 0;
    bool done = false;
    for (int64_t limit = 1; !done; limit += 64) {
        ASSERT_LE(limit, unlimited.peak + 64);
        Ledger ledger;
        const PconvDeviceOptions options = watched(ledger, static_cast<uint64_t>(limit));
        try {
            const OwnedDevice device = openDevice("cpu", &options);
            SmallConv small(device.get());
            small.prepare();
            check(small.forward());
            done = true;
        } catch (const CallFailed& failure) {
            EXPECT_EQ(failure.status(), PCONV_ERROR_OUT_OF_MEMORY) << failure.what();
            ++refused;
        }
        EXPECT_EQ(ledger.balance, 0);
        EXPECT_LE(ledger.peak, limit);
    }
    EXPECT_GT(refused, 3);
}

// The devices of this machine, by index.
class MemoryOf : public ::testing::TestWithParam<int> {
  protected:
    OwnedDevice open(const PconvDeviceOptions& options) {
        return openDevice(std::to_string(GetParam()).c_str(), &options);
    }
};

std::vector<int> deviceIndices() {
    int32_t count = 0;
    check(pconvGetDeviceCount(&count));
    std::vector<int> indices(static_cast<size_t>(count));
    std::iota(indices.begin(), indices.end(), 0);
    return indices;
}

TEST_P(MemoryOf, TheDeviceIsBoundByItsLimit) {
    Ledger unlimited;
    {
        const OwnedDevice device = open(watched(unlimited));
        SmallConv small(device.get());
        small.prepare();
        check(small.forward());
        check(pconvWait(device.get()));
    }
    EXPECT_EQ(unlimited.balance, 0);
    int refused = 0;
    constexpr int64_t kSteps = 24;
    for (int64_t step = 1; step <= kSteps; ++step) {
        const int64_t limit = std::max<int64_t>(1, unlimited.peak * step / kSteps);
        Ledger ledger;
        bool done = false;
        try {
            const OwnedDevice device = open(watched(ledger, static_cast<uint64_t>(limit)));
            SmallConv small(device.get());
            small.prepare();
            check(small.forward());
            check(pconvWait(device.get()));
            done = true;
        } catch (const CallFailed& failure) {
            EXPECT_EQ(failure.status(), PCONV_ERROR_OUT_OF_MEMORY) << failure.what();
            ++refused;
        }
        EXPECT_EQ(ledger.balance, 0);
        EXPECT_LE(ledger.peak, limit);
        EXPECT_TRUE(done || step < kSteps) << "what was enough without a limit is enough with it";
    }
    EXPECT_GT(refused, 0);
}

// Also while the work that uses them is still running.
TEST_P(MemoryOf, HandlesMayBeReleasedInAnyOrder) {
    std::array<int, 5> order{};
    std::iota(order.begin(), order.end(), 0);
    do {
        Ledger ledger;
        const PconvDeviceOptions options = watched(ledger);
        {
            OwnedDevice device = open(options);
            SmallConv small(device.get());
            small.prepare();
            check(small.forward());
            for (const int which : order) {
                if (which == 0) device.reset();
                if (which == 1) small.mask_buffer.reset();
                if (which == 2) small.update.reset();
                if (which == 3) small.conv.reset();
                if (which == 4) small.input_buffer.reset();
            }
            EXPECT_GT(ledger.balance, 0);
        }
        EXPECT_EQ(ledger.balance, 0);
        // Every fifth order: all of them take seconds where opening a device does.
        for (int skip = 0; skip < 4; ++skip) std::next_permutation(order.begin(), order.end());
    } while (std::next_permutation(order.begin(), order.end()));
}

INSTANTIATE_TEST_SUITE_P(Devices, MemoryOf, ::testing::ValuesIn(deviceIndices()));

TEST(Memory, WhatAHandleNeedsIsKeptAlive) {
    OwnedDevice device = openDevice("cpu");
    SmallConv small(device.get());
    small.prepare();
    check(small.forward());
    const std::vector<float> expected = small.result();
    device.reset();
    small.mask_buffer.reset();
    small.weight_buffer.reset();
    small.bias_buffer.reset();
    check(small.forward());
    EXPECT_EQ(small.result(), expected);
}

TEST(Memory, TheDeviceOutlivesItsHandleForResultsOfAMaskUpdate) {
    OwnedDevice device = openDevice("cpu");
    SmallConv small(device.get());
    small.prepare();
    PconvTensor window_sum{};
    check(pconvGetMaskUpdateTensors(small.update.get(), &window_sum, nullptr, nullptr));
    const std::vector<float> sums = readBuffer<float>(window_sum.buffer, 60, window_sum.offset);
    device.reset();
    EXPECT_EQ(readBuffer<float>(window_sum.buffer, 60, window_sum.offset), sums);
}

// Of the CPU device's convolutions one runs at a time: scratch memory is there once, as large as the largest
// needs, and moves under those that were there before.
TEST(Memory, ConvolutionsShareScratch) {
    Ledger ledger;
    const PconvDeviceOptions options = watched(ledger);
    const OwnedDevice device = openDevice("cpu", &options);
    SmallConv small(device.get());
    small.prepare();
    check(small.forward());
    const std::vector<float> expected = small.result();
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
    desc.in_channels = desc.out_channels = 16;
    desc.input_size[0] = desc.input_size[1] = 256;
    desc.kernel[0] = desc.kernel[1] = 3;
    desc.padding[0] = desc.padding[1] = 1;
    const int64_t weights = 16 * 16 * 9 * 4;
    OwnedPartialConv first;
    check(pconvCreatePartialConv(device.get(), &desc, first.out()));
    const char* row = nullptr;
    check(pconvGetPartialConvImplementation(first.get(), &row));
    const int64_t before = ledger.balance;
    OwnedPartialConv second;
    check(pconvCreatePartialConv(device.get(), &desc, second.out()));
    EXPECT_LE(ledger.balance - before, 2 * weights) << row;
    check(pconvWriteBuffer(small.output_buffer.get(), 0, std::vector<float>(360).data(), 360 * 4));
    check(small.forward());
    EXPECT_EQ(small.result(), expected);
    first.reset();
    second.reset();
    check(small.forward());
    EXPECT_EQ(small.result(), expected);
}

// However a layer is cut: a mask whose holes may be left out has a second cut into small boxes.
TEST(Memory, WeightsArePackedOnce) {
    const auto bytesOf = [](PconvMaskType mask) {
        Ledger ledger;
        PconvDeviceOptions options = watched(ledger);
        options.threads = 2;
        const OwnedDevice device = openDevice("cpu", &options);
        PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(2);
        desc.in_channels = 128;
        desc.out_channels = 256;
        desc.input_size[0] = desc.input_size[1] = 64;
        desc.kernel[0] = desc.kernel[1] = 3;
        desc.padding[0] = desc.padding[1] = 1;
        desc.mask_type = mask;
        OwnedPartialConv conv;
        check(pconvCreatePartialConv(device.get(), &desc, conv.out()));
        return ledger.balance;
    };
    constexpr int64_t kWeights = 128 * 256 * 9 * 4;
    EXPECT_LT(bytesOf(PCONV_MASK_TYPE_BINARY), bytesOf(PCONV_MASK_TYPE_NONE) + kWeights / 2);
}

}  // namespace
}  // namespace pconv::test
