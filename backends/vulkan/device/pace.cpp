#include "vulkan/device/pace.h"

#include <algorithm>

namespace pconv::vulkan {

void Pace::ran(uint64_t work, double seconds) {
    constexpr double kWish = 0.25;  // seconds; watchdogs fire after 2 and more
    if (work == 0 || !(seconds > 0)) return;
    const double wished = static_cast<double>(work) / seconds * kWish;
    const double most = static_cast<double>(most_);
    const double least = static_cast<double>(least_);
    // Down at once, up by doubling, and only by what was large enough to tell.
    if (seconds > kWish)
        cap_ = std::min(cap_, static_cast<uint64_t>(std::clamp(wished, least, most)));
    else if (work >= cap_ / 4)
        cap_ = static_cast<uint64_t>(
            std::clamp(std::min(wished, 2 * static_cast<double>(cap_)), static_cast<double>(cap_), most));
}

}  // namespace pconv::vulkan
