// The time between two points of the queue, by timestamps of the device.
#pragma once

#include <memory>

#include "vulkan/device/stream.h"

namespace pconv::vulkan {

class VulkanTimer final : public Timer {
  public:
    // For devices whose queue has timestamps.
    VulkanTimer(Context& context, Stream& stream);
    void start() override { mark(0); }
    void stop() override { mark(1); }
    double seconds() override;

  private:
    struct Queries;
    void mark(uint32_t index);

    Context& context_;
    Stream& stream_;
    std::shared_ptr<Queries> queries_;  // shared by the marks in flight
    uint64_t last_ = 0;                 // the submission of the last mark
};

}  // namespace pconv::vulkan
