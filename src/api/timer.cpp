// Timers of the C API.
#include <chrono>

#include "core/checked.h"
#include "core/handles.h"

using namespace pconv;

PconvTimer_T::~PconvTimer_T() {
    releaseOn(*device, timer);
}

namespace {

// For devices without a clock of their own: both marks wait for the queue.
class HostTimer final : public Timer {
  public:
    explicit HostTimer(Device& device) : device_(device) {}
    void start() override { start_ = now(); }
    void stop() override { stop_ = now(); }
    double seconds() override { return std::chrono::duration<double>(stop_ - start_).count(); }

  private:
    using Clock = std::chrono::steady_clock;
    Clock::time_point now() {
        device_.wait();
        return Clock::now();
    }
    Device& device_;
    Clock::time_point start_, stop_;
};

}  // namespace

PconvStatus pconvCreateTimer(PconvDevice device, PconvTimer* timer) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        notNull(timer, "timer");
        const DeviceLock lock(*state);
        std::unique_ptr<Timer> made = state->device->makeTimer();
        if (made == nullptr) made = std::make_unique<HostTimer>(*state->device);
        *timer = new PconvTimer_T{state, std::move(made)};
    });
}

void pconvReleaseTimer(PconvTimer timer) {
    delete timer;
}

PconvStatus pconvStartTimer(PconvTimer timer) {
    return guarded([&] {
        PconvTimer_T& object = notNull(timer, "timer");
        const DeviceLock lock(*object.device);
        object.stopped = false;
        object.timer->start();
        object.started = true;
    });
}

PconvStatus pconvStopTimer(PconvTimer timer) {
    return guarded([&] {
        PconvTimer_T& object = notNull(timer, "timer");
        const DeviceLock lock(*object.device);
        if (!object.started) invalid("the timer has not been started");
        object.timer->stop();
        object.stopped = true;
    });
}

PconvStatus pconvGetTimerSeconds(PconvTimer timer, double* seconds) {
    return guarded([&] {
        PconvTimer_T& object = notNull(timer, "timer");
        notNull(seconds, "seconds");
        const DeviceLock lock(*object.device);
        if (!object.stopped) invalid("the timer has not been started and stopped");
        *seconds = object.timer->seconds();
    });
}
