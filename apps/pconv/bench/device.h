#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "bench/timing.h"
#include "pconv/pconv.hpp"

namespace pconv::app {

struct BenchSettings {
    PconvDataType data_type = PCONV_DATA_TYPE_F32;
    PconvMath math = PCONV_MATH_EXACT;
    PconvLayout layout = PCONV_LAYOUT_CONTIGUOUS;
    std::string implementation;  ///< "": the library's choice
    bool backward = false;
    TimeBudget budget;
};

/// Why a row has no figures. `failed` where that is no property of the device.
struct Fault {
    std::string line;
    bool failed = false;
    explicit operator bool() const { return !line.empty(); }
};

Fault faultOf(const Error& error);

/// Device memory as the allocation callback tells it.
class MemoryMeter {
  public:
    int64_t now() const { return now_.load(); }
    int64_t peak() const { return peak_.load(); }
    void restart() { peak_.store(now_.load()); }
    static void note(void* meter, int64_t bytes);

  private:
    std::atomic<int64_t> now_{0}, peak_{0};
};

/// The device that is measured and what it is measured with.
class BenchDevice {
  public:
    BenchDevice(const std::string& selector, BenchSettings settings);

    const Device& device() const { return device_; }
    const PconvDeviceInfo& info() const { return info_; }
    const BenchSettings& settings() const { return settings_; }
    MemoryMeter& memory() { return meter_; }
    /// Whether the CPU does the work.
    bool isSlow() const;
    uint64_t cacheBytes() const { return cache_bytes_; }

    /// How many sets of tensors of so many bytes together exceed the last-level cache twice; throws
    /// PCONV_ERROR_OUT_OF_MEMORY where the device cannot hold `once_bytes` and one set.
    std::size_t setsFor(int64_t set_bytes, int64_t once_bytes) const;

    /// Of the settings' type; random values in [-1, 1), others for another seed.
    Tensor randomTensor(const std::vector<int64_t>& dims, std::uint32_t seed) const;
    Tensor tensor(const std::vector<int64_t>& dims) const { return {device_, dims, settings_.data_type}; }
    /// The view of [N, C, S...] in the settings' layout.
    PconvTensor inLayout(const Tensor& tensor) const;

    /// Type, layout, math and implementation as the settings have them.
    void apply(PconvPartialConvDesc& desc) const;

  private:
    void makeRandom();

    BenchSettings settings_;
    MemoryMeter meter_;
    Device device_;
    PconvDeviceInfo info_;
    uint64_t cache_bytes_;
    std::vector<std::uint8_t> random_;
};

/// A plain convolution of the same shape: conv(x, W) + b, no mask.
PconvPartialConvDesc plainDesc(PconvPartialConvDesc desc);

}  // namespace pconv::app
