// Several threads of the host on one device: what they get is what one thread gets.
#include <cstddef>
#include <string>
#include <thread>

#include "support/api.h"
#include "support/devices.h"
#include "support/environment.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

class Threads : public ::testing::TestWithParam<Row> {};

PconvPartialConvDesc descOf(const Row& row, int variant) {
    PconvPartialConvDesc desc = smallDesc();
    desc.implementation = row.name.c_str();
    desc.activation = variant % 2 == 0 ? PCONV_ACTIVATION_NONE : PCONV_ACTIVATION_RELU;
    return desc;
}

std::vector<float> runOnce(PconvDevice device, const PconvPartialConvDesc& desc) {
    SmallConv small(device, desc);
    small.prepare();
    check(small.forward());
    return small.result();
}

TEST_P(Threads, WithObjectsOfTheirOwnEqualOneThread) {
    PconvDevice device = sharedDevice(GetParam().device_index);
    constexpr int kThreads = 4;
    std::vector<std::vector<float>> expected;
    for (int i = 0; i < kThreads; ++i) expected.push_back(runOnce(device, descOf(GetParam(), i)));
    std::vector<int> wrong(kThreads, -1);
    std::vector<std::string> faults(kThreads);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            try {
                wrong[i] = 0;
                for (int repeat = 0; repeat < 10; ++repeat)
                    if (runOnce(device, descOf(GetParam(), static_cast<int>(i))) != expected[i]) ++wrong[i];
            } catch (const std::exception& error) {
                faults[i] = error.what();
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < kThreads; ++i) {
        EXPECT_EQ(faults[i], "");
        EXPECT_EQ(wrong[i], 0) << "of 10 runs of thread " << i;
    }
}

// One convolution and one mask update, used by all threads at once, each with an output of its own.
TEST_P(Threads, SharingAConvolutionEqualOneThread) {
    PconvDevice device = sharedDevice(GetParam().device_index);
    const PconvPartialConvDesc desc = descOf(GetParam(), 0);
    SmallConv small(device, desc);
    small.prepare();
    check(small.forward());
    const std::vector<float> expected = small.result();
    constexpr int kThreads = 4;
    std::vector<int> wrong(kThreads, -1);
    std::vector<std::string> faults(kThreads);
    std::vector<std::thread> threads;
    for (size_t i = 0; i < kThreads; ++i)
        threads.emplace_back([&, i] {
            try {
                const OwnedBuffer memory = makeBuffer(device, std::vector<float>(360, -7.0F));
                PconvTensor output = small.output;
                output.buffer = memory.get();
                wrong[i] = 0;
                for (int repeat = 0; repeat < 20; ++repeat) {
                    check(
                        pconvForwardPartialConv(small.conv.get(), small.update.get(), &small.input, &output));
                    if (readBuffer<float>(memory.get(), 360) != expected) ++wrong[i];
                }
            } catch (const std::exception& error) {
                faults[i] = error.what();
            }
        });
    for (std::thread& thread : threads) thread.join();
    for (size_t i = 0; i < kThreads; ++i) {
        EXPECT_EQ(faults[i], "");
        EXPECT_EQ(wrong[i], 0) << "of 20 runs of thread " << i;
    }
}

TEST(ThreadCount, HasNoInfluenceOnTheResultAndNoneIsTooLarge) {
    SmallConv expected(openDevice("cpu").get());
    expected.prepare();
    check(expected.forward());
    for (const char* count : {"1", "3", "0", "-7", "many", "99999999999999999999"}) {
        const ScopedEnvironment variable("OMP_NUM_THREADS", count);
        SmallConv small(openDevice("cpu").get());
        small.prepare();
        check(small.forward());
        EXPECT_EQ(small.result(), expected.result()) << "OMP_NUM_THREADS=" << count;
    }
}

TEST(HostThreads, DoTheWorkInPlaceOfTheLibrarysOwn) {
    std::vector<int32_t> asked;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.threads = 3;
    options.user = &asked;
    options.threads_callback = [](void* user, int32_t threads, void (*work)(void*), void* context) {
        static_cast<std::vector<int32_t>*>(user)->push_back(threads);
        std::thread other(work, context);
        work(context);
        other.join();
    };
    const OwnedDevice device = openDevice("cpu", &options);
    PconvDeviceOptions without = pconvDefaultDeviceOptions();
    without.threads = 3;
    const OwnedDevice own = openDevice("cpu", &without);
    for (const char* row : {"cpu:reference", "cpu:onednn"}) {
        PconvPartialConvDesc desc = smallDesc();
        desc.implementation = row;
        OwnedPartialConv made;
        if (pconvCreatePartialConv(device.get(), &desc, made.out()) != PCONV_SUCCESS) continue;  // no oneDNN
        asked.clear();
        SmallConv small(device.get(), desc);
        small.prepare();
        check(small.forward());
        // The reference row shares no work that is so small.
        EXPECT_EQ(asked.empty(), row == std::string("cpu:reference")) << row;
        for (const int32_t threads : asked) EXPECT_TRUE(threads == 2 || threads == 3) << threads;
        SmallConv expected(own.get(), desc);
        expected.prepare();
        check(expected.forward());
        EXPECT_EQ(small.result(), expected.result()) << row;
    }
    // Options of before it had the field.
    options.struct_size = offsetof(PconvDeviceOptions, threads_callback);
    asked.clear();
    SmallConv small(openDevice("cpu", &options).get());
    small.prepare();
    check(small.forward());
    EXPECT_TRUE(asked.empty());
}

INSTANTIATE_TEST_SUITE_P(Rows, Threads, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
