#include "core/handles.h"

#include "platform/process.h"

namespace pconv {

DeviceState::DeviceState() : forks_(platform::forkCount()) {}

DeviceState::~DeviceState() {
    if (isReachable()) return;
    static_cast<void>(device.release());
    static_cast<void>(host.release());
}

bool DeviceState::isReachable() const {
    const uint64_t forks = platform::forkCount();
    if (forks != forks_ && !survives_fork) return false;
    const uint64_t holder = holder_.load();
    return holder == 0 || holder == forks + 1;
}

DeviceLock::DeviceLock(DeviceState& state) : state_(state) {
    if (!state.isReachable())
        fail(PCONV_ERROR_DEVICE,
             state.survives_fork
                 ? "this process was forked while another thread was in a call on the device; expected a "
                   "device "
                   "at rest, or one that this process opens"
                 : "this process was forked after the " + state.backend +
                       " device was opened, which such a device does not survive; expected it to be opened "
                       "after the fork");
    state.mutex_.lock();
    state.holder_.store(platform::forkCount() + 1);
}

DeviceLock::~DeviceLock() {
    state_.holder_.store(0);
    state_.mutex_.unlock();
}

}  // namespace pconv
