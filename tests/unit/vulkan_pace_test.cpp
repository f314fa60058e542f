// How much work a submission holds on devices of different speed.
#include "vulkan/device/pace.h"

#include <gtest/gtest.h>

namespace pconv::vulkan {

namespace {

constexpr uint64_t kLeast = uint64_t{4} << 30;
constexpr uint64_t kMost = uint64_t{256} << 30;

// The cap after submissions as large as it lets them be, on a device of so many multiplications a second.
uint64_t settled(double rate) {
    Pace pace(kLeast, kMost);
    for (int i = 0; i < 30; ++i) pace.ran(pace.cap(), static_cast<double>(pace.cap()) / rate);
    return pace.cap();
}

TEST(Pace, BeginsWithTheWorkOfOneDispatch) {
    EXPECT_EQ(Pace(kLeast, kMost).cap(), kLeast);
}

TEST(Pace, SubmissionsOfAnyDeviceEndLongBeforeAWatchdogFires) {
    for (double rate = 1e10; rate < 1e14; rate *= 3) {
        const double cap = static_cast<double>(settled(rate));
        EXPECT_GE(cap, static_cast<double>(kLeast));
        EXPECT_LE(cap, static_cast<double>(kMost));
        if (cap > static_cast<double>(kLeast)) {
            EXPECT_LE(cap / rate, 0.26) << rate;
        }
    }
    EXPECT_EQ(settled(5e9), kLeast);
    EXPECT_EQ(settled(1e13), kMost);
}

TEST(Pace, FallsAtOnceWhereWorkIsSlowerThanItWas) {
    Pace pace(kLeast, kMost);
    for (int i = 0; i < 30; ++i) pace.ran(pace.cap(), static_cast<double>(pace.cap()) / 1e13);
    ASSERT_EQ(pace.cap(), kMost);
    pace.ran(kMost, 4.0);
    EXPECT_LE(static_cast<double>(pace.cap()), static_cast<double>(kMost) / 4.0 * 0.26);
}

TEST(Pace, SmallSubmissionsSayNothing) {
    Pace pace(kLeast, kMost);
    for (int i = 0; i < 30; ++i) pace.ran(1000, 1e-6);
    pace.ran(0, 1.0);
    EXPECT_EQ(pace.cap(), kLeast);
}

}  // namespace

}  // namespace pconv::vulkan
