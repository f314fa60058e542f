#pragma once

#include "bench/layer.h"

namespace pconv::app {

/// What the device reached in this run: the measure of how fast a row could be.
struct DeviceLimits {
    double bytes_per_second = 0;       ///< read and written, of a large pconvConvertTensor copy
    double operations_per_second = 0;  ///< of the fastest plain convolution of this run
    std::string fastest;               ///< which that was
    Fault fault;

    /// No pass can take less than moving its tensors once, or computing at that rate.
    double floorSeconds(const Footprint& footprint) const;
};

/// From a copy, from large convolutions of friendly shapes, and from the plain convolutions of `measured`.
DeviceLimits measureLimits(BenchDevice& bench, int64_t shrink, const std::vector<RowResult>& measured);

}  // namespace pconv::app
