#include "bench/device.h"

#include <random>

#include "platform.h"
#include "typed_tensor.h"

namespace pconv::app {
namespace {

constexpr uint64_t kUnknownCache = uint64_t{64} << 20;
constexpr int64_t kMostSetBytes = int64_t{2} << 30;
constexpr std::size_t kMostSets = 64;
// Prime, so that rows of tensors do not repeat each other.
constexpr std::size_t kRandomCount = 1048573;

PconvDeviceOptions optionsWith(MemoryMeter& meter) {
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.allocation_callback = MemoryMeter::note;
    options.user = &meter;
    return options;
}

}  // namespace

Fault faultOf(const Error& error) {
    const std::string line = error.what();
    if (error.status() == PCONV_ERROR_UNSUPPORTED) return {"not supported: " + line, false};
    if (error.status() == PCONV_ERROR_OUT_OF_MEMORY) return {"not run: " + line, false};
    return {"failed: " + line, true};
}

void MemoryMeter::note(void* meter, int64_t bytes) {
    auto& self = *static_cast<MemoryMeter*>(meter);
    const int64_t now = self.now_.fetch_add(bytes) + bytes;
    int64_t peak = self.peak_.load();
    while (now > peak && !self.peak_.compare_exchange_weak(peak, now)) {
    }
}

BenchDevice::BenchDevice(const std::string& selector, BenchSettings settings)
    : settings_(std::move(settings)),
      device_([&] {
          const PconvDeviceOptions options = optionsWith(meter_);
          return Device(selector, &options);
      }()),
      info_(device_.info()),
      cache_bytes_(isSlow() ? lastLevelCacheBytes() : 0) {
    if (cache_bytes_ == 0) cache_bytes_ = kUnknownCache;
    makeRandom();
}

bool BenchDevice::isSlow() const {
    return info_.type == PCONV_DEVICE_TYPE_CPU || info_.type == PCONV_DEVICE_TYPE_SOFTWARE;
}

std::size_t BenchDevice::setsFor(int64_t set_bytes, int64_t once_bytes) const {
    const auto memory = static_cast<int64_t>(std::min<uint64_t>(info_.memory_bytes, PTRDIFF_MAX));
    // The rest is what implementations need for themselves.
    const int64_t most = memory / 4 * 3;
    if (memory > 0 && set_bytes + once_bytes > most)
        throw Error(PCONV_ERROR_OUT_OF_MEMORY, "its tensors have " +
                                                   std::to_string((set_bytes + once_bytes) >> 20) +
                                                   " MiB; expected at most " + std::to_string(most >> 20) +
                                                   " MiB, three quarters of the device's memory");
    const int64_t room = memory > 0 ? std::min(kMostSetBytes, memory / 4) : kMostSetBytes;
    const auto wanted = static_cast<std::size_t>(2 * cache_bytes_ / static_cast<uint64_t>(set_bytes) + 1);
    const auto fitting = static_cast<std::size_t>(std::max<int64_t>(1, room / set_bytes));
    return std::min({wanted, fitting, kMostSets});
}

void BenchDevice::makeRandom() {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> value(-1, 1);
    std::vector<float> values(kRandomCount);
    std::generate(values.begin(), values.end(), [&] { return value(random); });
    const std::vector<int64_t> dims = {1, 1, static_cast<int64_t>(kRandomCount)};
    const Tensor all = tensorOf(settings_.data_type, device_, dims, values);
    random_.resize(kRandomCount * sizeOf(settings_.data_type));
    all.buffer().read(random_.data(), random_.size());
}

Tensor BenchDevice::randomTensor(const std::vector<int64_t>& dims, std::uint32_t seed) const {
    constexpr std::size_t kStep = 65537;
    Tensor made = tensor(dims);
    const std::size_t size = sizeOf(settings_.data_type);
    std::size_t from = seed * kStep % kRandomCount * size;
    for (std::size_t at = 0; at < made.buffer().size();) {
        const std::size_t bytes = std::min(random_.size() - from, made.buffer().size() - at);
        made.buffer().write(random_.data() + from, bytes, at);
        at += bytes;
        from = 0;
    }
    return made;
}

PconvTensor BenchDevice::inLayout(const Tensor& tensor) const {
    PconvTensor view = tensor.view();
    if (settings_.layout == PCONV_LAYOUT_CONTIGUOUS) return view;
    int64_t stride = view.dims[1];
    view.strides[1] = 1;
    for (int32_t d = view.rank - 1; d >= 2; --d) {
        view.strides[d] = stride;
        stride *= view.dims[d];
    }
    view.strides[0] = stride;
    return view;
}

void BenchDevice::apply(PconvPartialConvDesc& desc) const {
    desc.data_type = settings_.data_type;
    desc.input_layout = desc.output_layout = settings_.layout;
    desc.math = settings_.math;
    desc.training = settings_.backward ? 1 : 0;
    if (!settings_.implementation.empty()) desc.implementation = settings_.implementation.c_str();
}

PconvPartialConvDesc plainDesc(PconvPartialConvDesc desc) {
    desc.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    desc.mask_type = PCONV_MASK_TYPE_NONE;
    desc.mask_mode = PCONV_MASK_MODE_SINGLE_CHANNEL;
    desc.implementation = nullptr;
    return desc;
}

}  // namespace pconv::app
