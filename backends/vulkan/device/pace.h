// How much work a submission may hold on a device whose speed is not known beforehand, so that no watchdog
// fires. Knows no Vulkan.
#pragma once

#include <cstdint>

namespace pconv::vulkan {

class Pace {
  public:
    // Between the work of one dispatch, with which it begins, and the most that is ever wanted.
    Pace(uint64_t least, uint64_t most) : least_(least), most_(most), cap_(least) {}

    uint64_t cap() const { return cap_; }
    // A submission of so much work took so long.
    void ran(uint64_t work, double seconds);

  private:
    uint64_t least_, most_, cap_;
};

}  // namespace pconv::vulkan
