#include "cuda/device/device.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "cuda/cudnn/context.h"
#include "cuda/device/external_memory.h"
#include "cuda/device/recording.h"
#include "cuda/device/timer.h"
#include "cuda/kernels/strided_copy.h"
#include "cuda/kernels/unpack_bits.h"

namespace pconv::cuda {

namespace {

std::string capability(const cudaDeviceProp& properties) {
    return std::to_string(properties.major) + "." + std::to_string(properties.minor);
}

std::string versionText(int version) {
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

}  // namespace

DeviceInfo describeDevice(int index) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties");
    int driver = 0;
    check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
    DeviceInfo info;
    info.name = properties.name;
    info.type = properties.integrated != 0 ? DeviceType::integrated_gpu : DeviceType::discrete_gpu;
    std::memcpy(info.uuid.data(), properties.uuid.bytes, info.uuid.size());
    std::memcpy(info.luid.data(), properties.luid, info.luid.size());
    char pci[48];
    std::snprintf(pci, sizeof pci, "%04x:%02x:%02x.0", static_cast<unsigned>(properties.pciDomainID),
                  static_cast<unsigned>(properties.pciBusID), static_cast<unsigned>(properties.pciDeviceID));
    info.pci = pci;
    info.memory_bytes = properties.totalGlobalMem;
    info.driver = "CUDA driver " + versionText(driver) + ", runtime " + versionText(CUDART_VERSION);
    info.features = "sm_" + std::to_string(properties.major) + std::to_string(properties.minor) +
                    " f16 bf16 tf32 " + std::to_string(properties.multiProcessorCount) + "-multiprocessors";
    if (properties.ECCEnabled != 0) info.features += " ecc";
    return info;
}

std::vector<int> usableDevices(std::string& reason) {
    reason = driverProblem();
    if (!reason.empty()) return {};
    int count = 0;
    check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
    std::vector<int> usable;
    for (int i = 0; i < count; ++i) {
        cudaDeviceProp properties{};
        check(cudaGetDeviceProperties(&properties, i), "cudaGetDeviceProperties");
        if (properties.major * 10 + properties.minor >= PCONV_CUDA_OLDEST)
            usable.push_back(i);
        else
            reason = std::string(properties.name) + " has compute capability " + capability(properties) +
                     "; expected " + std::to_string(PCONV_CUDA_OLDEST / 10) + "." +
                     std::to_string(PCONV_CUDA_OLDEST % 10) + " or later";
    }
    return usable;
}

CudaDevice::CudaDevice(int index, std::shared_ptr<Stream> stream, Host& host)
    : index_(index),
      stream_(std::move(stream)),
      host_(host),
      info_(describeDevice(index)),
      implementations_{&cudaCudnn(), &cudaIgemm(), &cudaDirect()},
      pinned_(std::make_unique<PinnedRing>()) {
    check(cudaDeviceGetAttribute(&multiprocessors_, cudaDevAttrMultiProcessorCount, index),
          "cudaDeviceGetAttribute");
    std::string reason;
    if (findCudnn(reason) != nullptr) info_.features += " cudnn-" + cudnnVersion();
}

CudaDevice::~CudaDevice() {
    const CurrentDevice current(index_, std::nothrow);
    if (!current.made()) return;  // a device that is lost has nothing left to release
    cudaStreamSynchronize(stream_->queue());
    cudnn_.reset();
    pinned_.reset();
}

std::vector<const Implementation*> CudaDevice::preferredFor(const PartialConvDesc& desc) const {
    return preferredRows(desc);
}

std::shared_ptr<Buffer> CudaDevice::allocate(size_t bytes) {
    return std::make_shared<OwnedCudaBuffer>(stream_, host_, bytes);
}

std::shared_ptr<Buffer> CudaDevice::importHost(void* memory, size_t bytes) {
    return std::make_shared<HostCudaBuffer>(stream_, memory, bytes);
}

std::shared_ptr<Buffer> CudaDevice::importNative(uint64_t handle, size_t offset, size_t bytes) {
    const CurrentDevice current(index_);
    return importPointer(index_, handle, offset, bytes);
}

std::shared_ptr<Buffer> CudaDevice::importExternal(const ExternalMemory& memory, size_t bytes) {
    return std::make_shared<ExternalCudaBuffer>(stream_, memory, bytes);
}

void CudaDevice::write(Buffer& buffer, size_t offset, const void* source, size_t bytes) {
    stream_->refuseInCapture("writing a buffer");
    const CurrentDevice current(index_);
    char* to = static_cast<CudaBuffer&>(buffer).data() + offset;
    const char* from = static_cast<const char*>(source);
    while (bytes > 0) {
        const size_t piece = std::min(bytes, PinnedRing::kPiece);
        void* staged = pinned_->take(piece);
        std::memcpy(staged, from, piece);
        check(cudaMemcpyAsync(to, staged, piece, cudaMemcpyDefault, stream()), "writing a buffer");
        pinned_->used(stream());
        to += piece;
        from += piece;
        bytes -= piece;
    }
}

void CudaDevice::read(Buffer& buffer, size_t offset, void* destination, size_t bytes) {
    stream_->refuseInCapture("reading a buffer");
    const CurrentDevice current(index_);
    const char* from = static_cast<CudaBuffer&>(buffer).data() + offset;
    char* to = static_cast<char*>(destination);
    // One piece is copied out by the host while the device copies the next.
    const void* staged = nullptr;
    size_t staged_bytes = 0;
    while (bytes > 0 || staged_bytes > 0) {
        const size_t piece = std::min(bytes, PinnedRing::kPiece);
        void* next = nullptr;
        if (piece > 0) {
            next = pinned_->take(piece);
            check(cudaMemcpyAsync(next, from, piece, cudaMemcpyDefault, stream()), "reading a buffer");
            pinned_->used(stream());
        }
        if (staged_bytes > 0) {
            pinned_->waitForAllBut(piece > 0 ? 1 : 0);
            std::memcpy(to, staged, staged_bytes);
            to += staged_bytes;
        }
        staged = next;
        staged_bytes = piece;
        from += piece;
        bytes -= piece;
    }
}

void CudaDevice::wait() {
    const CurrentDevice current(index_);
    stream_->wait();
}

std::unique_ptr<Recording> CudaDevice::record(std::function<void()> enqueue) {
    return std::make_unique<CudaRecording>(stream_, enqueue);
}

std::unique_ptr<Timer> CudaDevice::makeTimer() {
    return std::make_unique<CudaTimer>(stream_);
}

void CudaDevice::convert(const TensorRef& source, const TensorRef& destination,
                         const std::array<int64_t, 5>& dims) {
    const CurrentDevice current(index_);
    StridedCopy copy{};
    copy.source_type = source.data_type;
    copy.destination_type = destination.data_type;
    std::copy(dims.begin(), dims.end(), copy.dims);
    copy.source = view(source);
    copy.destination = view(destination);
    check(launchStridedCopy(copy, stream()), "converting a tensor");
}

void CudaDevice::unpackBits(const TensorRef& bits, const TensorRef& bytes,
                            const std::array<int64_t, 5>& dims) {
    const CurrentDevice current(index_);
    BitUnpacking unpacking{{}, view(bits), view(bytes)};
    std::copy(dims.begin(), dims.end(), unpacking.dims);
    check(launchUnpackBits(unpacking, stream()), "unpacking a mask's bits");
}

CudnnContext& CudaDevice::cudnn() const {
    if (cudnn_ == nullptr) cudnn_ = std::make_unique<CudnnContext>(info_, host_, stream_);
    return *cudnn_;
}

}  // namespace pconv::cuda
