#include "cpu/device.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "cpu/masked_norm.h"
#include "cpu/network/network.h"
#include "platform/cpu_info.h"
#include "platform/process.h"

namespace pconv::cpu {

namespace {
constexpr long kMostThreads = 1024;

int threadsFor(const Host& host) {
    if (host.threads() > 0) return host.threads();
    const char* omp = std::getenv("OMP_NUM_THREADS");
    const long wanted = omp != nullptr ? std::strtol(omp, nullptr, 10) : 0;
    if (wanted > 0) return static_cast<int>(std::min(wanted, kMostThreads));
    return platform::usableProcessors();
}
}  // namespace

CpuBuffer::CpuBuffer(Host& host, size_t bytes) : Buffer(bytes), host_(&host) {
    host.allocated(bytes);
    data_ = ::operator new (bytes, std::align_val_t{kAlignment}, std::nothrow);
    if (data_ == nullptr) {
        host.released(bytes);
        fail(PCONV_ERROR_OUT_OF_MEMORY, "no host memory for a buffer of " + std::to_string(bytes) + " bytes");
    }
}

CpuBuffer::~CpuBuffer() {
    if (host_ == nullptr) return;
    ::operator delete (data_, std::align_val_t{kAlignment});
    host_->released(size());
}

DeviceInfo describeCpu() {
    DeviceInfo info;
    info.name = platform::cpuName();
    info.type = DeviceType::cpu;
    info.memory_bytes = platform::memoryBytes();
    info.features = platform::cpuFeatures();
    info.driver = "host";
    return info;
}

CpuDevice::CpuDevice(Host& host)
    : host_(host),
      pool_(threadsFor(host), host.hostThreads().call, host.hostThreads().user),
      threads_(pool_),
      info_(describeCpu()),
      scratch_(std::make_shared<SharedScratch>(*this)) {
#if defined(PCONV_HAVE_ONEDNN)
    implementations_.push_back(&cpuOnednn());
#endif
    implementations_.push_back(&cpuReference());
}

std::shared_ptr<Buffer> CpuDevice::allocate(size_t bytes) {
    return std::make_shared<CpuBuffer>(host_, bytes);
}

std::shared_ptr<Buffer> CpuDevice::importHost(void* memory, size_t bytes) {
    return std::make_shared<CpuBuffer>(memory, bytes);
}

void CpuDevice::write(Buffer& buffer, size_t offset, const void* source, size_t bytes) {
    std::memcpy(static_cast<char*>(buffer.hostPointer()) + offset, source, bytes);
}

void CpuDevice::read(Buffer& buffer, size_t offset, void* destination, size_t bytes) {
    std::memcpy(destination, static_cast<char*>(buffer.hostPointer()) + offset, bytes);
}

std::unique_ptr<MaskedBatchNorm> CpuDevice::makeMaskedBatchNorm(const MaskedNormDesc& desc) {
    return cpu::makeMaskedBatchNorm(desc, threads_);
}

std::unique_ptr<MaskedSpatialMean> CpuDevice::makeMaskedSpatialMean(const MaskedNormDesc& desc) {
    return cpu::makeMaskedSpatialMean(desc, threads_);
}

void CpuDevice::pass(const PassDesc& desc, const PassOperands& operands) {
    switch (desc.kind) {
        case PassKind::pointwise:
            return pointwise(*this, desc, operands);
        case PassKind::max_pool:
            return maxPool(*this, desc, operands);
        case PassKind::average_pool:
            return averagePool(*this, desc, operands);
        case PassKind::interpolate:
            return interpolate(*this, desc, operands);
    }
}

PlaneIndex planeOfChannel(const MaskForm& form, bool multi_channel, int64_t channel) {
    if (!multi_channel) return {0, 0};
    for (size_t i = 0; i < form.segments.size(); ++i) {
        const auto& segment = form.segments[i];
        const int64_t channels = segment.planes * segment.multiplicity;
        if (channel < channels) return {i, channel / segment.multiplicity};
        channel -= channels;
    }
    fail(PCONV_ERROR_INTERNAL, "a channel lies beyond the mask's segments");
}

}  // namespace pconv::cpu
