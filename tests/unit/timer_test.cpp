// Timers of the C API on every device.
#include "support/api.h"
#include "support/devices.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

class Timers : public ::testing::TestWithParam<Row> {
  protected:
    PconvDevice device() const { return sharedDevice(GetParam().device_index); }
    static PconvPartialConvDesc desc() {
        PconvPartialConvDesc desc = smallDesc();
        desc.implementation = GetParam().name.c_str();
        return desc;
    }
};

using OwnedTimer = Owned<PconvTimer, pconvReleaseTimer>;

OwnedTimer makeTimer(PconvDevice device) {
    OwnedTimer timer;
    check(pconvCreateTimer(device, timer.out()));
    return timer;
}

TEST_P(Timers, TellTheTimeBetweenTheirMarks) {
    const OwnedTimer timer = makeTimer(device());
    const OwnedTimer around = makeTimer(device());
    SmallConv small(device(), desc());
    small.prepare();
    double seconds = -1;
    double all = -1;
    check(pconvStartTimer(around.get()));
    for (int pair = 0; pair < 3; ++pair) {
        check(pconvStartTimer(timer.get()));
        for (int i = 0; i < 3; ++i) check(small.forward());
        check(pconvStopTimer(timer.get()));
        check(pconvGetTimerSeconds(timer.get(), &seconds));
        EXPECT_GT(seconds, 0);
        EXPECT_LT(seconds, 60);
    }
    check(pconvStopTimer(around.get()));
    check(pconvGetTimerSeconds(around.get(), &all));
    EXPECT_GE(all, seconds);
    check(pconvGetTimerSeconds(timer.get(), &all));
    EXPECT_EQ(all, seconds) << "read twice";
}

TEST_P(Timers, RefuseToBeReadBeforeTheyWereStopped) {
    const OwnedTimer timer = makeTimer(device());
    double seconds = -1;
    EXPECT_INVALID(pconvGetTimerSeconds(timer.get(), &seconds), "the timer has not been started and stopped");
    EXPECT_INVALID(pconvStopTimer(timer.get()), "the timer has not been started");
    check(pconvStartTimer(timer.get()));
    EXPECT_INVALID(pconvGetTimerSeconds(timer.get(), &seconds), "the timer has not been started and stopped");
    check(pconvStopTimer(timer.get()));
    check(pconvStopTimer(timer.get()));
    check(pconvGetTimerSeconds(timer.get(), &seconds));
    EXPECT_GE(seconds, 0);
    check(pconvStartTimer(timer.get()));
    EXPECT_INVALID(pconvGetTimerSeconds(timer.get(), &seconds), "the timer has not been started and stopped");
}

TEST_P(Timers, MayGoWhileTheirMarksAreOnTheWay) {
    SmallConv small(device(), desc());
    small.prepare();
    for (int i = 0; i < 10; ++i) {
        const OwnedTimer timer = makeTimer(device());
        check(pconvStartTimer(timer.get()));
        check(small.forward());
        check(pconvStopTimer(timer.get()));
    }
    check(pconvWait(device()));
}

TEST_P(Timers, NullIsNamed) {
    PconvTimer timer = nullptr;
    double seconds = 0;
    EXPECT_INVALID(pconvCreateTimer(nullptr, &timer), "device is null");
    EXPECT_INVALID(pconvCreateTimer(device(), nullptr), "timer is null");
    EXPECT_INVALID(pconvStartTimer(nullptr), "timer is null");
    EXPECT_INVALID(pconvStopTimer(nullptr), "timer is null");
    EXPECT_INVALID(pconvGetTimerSeconds(nullptr, &seconds), "timer is null");
    const OwnedTimer owned = makeTimer(device());
    EXPECT_INVALID(pconvGetTimerSeconds(owned.get(), nullptr), "seconds is null");
    pconvReleaseTimer(nullptr);
}

INSTANTIATE_TEST_SUITE_P(Rows, Timers, ::testing::ValuesIn(allRows()),
                         [](const auto& tested) { return testName(tested.param); });

}  // namespace
}  // namespace pconv::test
