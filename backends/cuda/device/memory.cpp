#include "cuda/device/memory.h"

#include <algorithm>
#include <string>

namespace pconv::cuda {

CurrentDevice::CurrentDevice(int index) {
    check(cudaGetDevice(&before_), "cudaGetDevice");
    if (before_ == index)
        before_ = -1;
    else
        check(cudaSetDevice(index), "cudaSetDevice");
}

CurrentDevice::~CurrentDevice() {
    if (before_ >= 0) cudaSetDevice(before_);
}

// ---- Stream ---------------------------------------------------------------------------------------------

Stream::Stream(int device) : device_(device), owned_(true) {
    const CurrentDevice current(device_);
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    try {
        makePool();
    } catch (...) {
        cudaStreamDestroy(stream_);
        throw;
    }
}

Stream::Stream(int device, cudaStream_t adopted) : device_(device), owned_(false), stream_(adopted) {
    const CurrentDevice current(device_);
    makePool();
}

void Stream::makePool() {
    int supported = 0;
    check(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, device_),
          "cudaDeviceGetAttribute");
    if (supported == 0) return;
    cudaMemPoolProps properties{};
    properties.allocType = cudaMemAllocationTypePinned;
    properties.location.type = cudaMemLocationTypeDevice;
    properties.location.id = device_;
    check(cudaMemPoolCreate(&pool_, &properties), "cudaMemPoolCreate");
    // Kept from one use to the next; all goes back when the device is closed.
    uint64_t threshold = UINT64_MAX;
    const cudaError_t status = cudaMemPoolSetAttribute(pool_, cudaMemPoolAttrReleaseThreshold, &threshold);
    if (status == cudaSuccess) return;
    cudaMemPoolDestroy(pool_);
    check(status, "cudaMemPoolSetAttribute");
}

Stream::~Stream() {
    int before = -1;
    if (cudaGetDevice(&before) == cudaSuccess && cudaSetDevice(device_) == cudaSuccess) {
        cudaStreamSynchronize(stream_);
        if (capture_ != nullptr) cudaStreamDestroy(capture_);
        if (pool_ != nullptr) cudaMemPoolDestroy(pool_);
        if (owned_) cudaStreamDestroy(stream_);
        cudaSetDevice(before);
    }
}

void Stream::wait() {
    refuseInCapture("waiting");
    check(cudaStreamSynchronize(stream_), "waiting for the stream");
}

void Stream::refuseInCapture(const char* what) const {
    if (capturing_) fail(PCONV_ERROR_UNSUPPORTED, std::string(what) + " cannot be recorded");
}

void Stream::beginCapture() {
    refuseInCapture("a recording within another");
    if (capture_ == nullptr)
        check(cudaStreamCreateWithFlags(&capture_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    // Relaxed: a kernel's first launch may load it, and what other threads of the host do is theirs.
    check(cudaStreamBeginCapture(capture_, cudaStreamCaptureModeRelaxed), "recording work");
    capturing_ = true;
}

cudaGraph_t Stream::endCapture() {
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(capture_, &graph), "recording work");
    return graph;
}

void Stream::cancelCapture() noexcept {
    if (!capturing_) return;
    capturing_ = false;
    cudaGraph_t graph = nullptr;
    cudaStreamEndCapture(capture_, &graph);
    if (graph != nullptr) cudaGraphDestroy(graph);
    cudaGetLastError();  // of a capture that an error has ended
}

// ---- Buffers --------------------------------------------------------------------------------------------

OwnedCudaBuffer::OwnedCudaBuffer(std::shared_ptr<Stream> stream, Host& host, size_t bytes)
    : CudaBuffer(nullptr, bytes), stream_(std::move(stream)), host_(host) {
    host_.allocated(bytes);
    cudaError_t status = cudaSuccess;
    try {
        const CurrentDevice current(stream_->device());
        status = stream_->pool() != nullptr
                     ? cudaMallocFromPoolAsync(&data_, bytes, stream_->pool(), stream_->queue())
                     : cudaMalloc(&data_, bytes);
    } catch (...) {
        host_.released(bytes);
        throw;
    }
    if (status == cudaSuccess) return;
    host_.released(bytes);
    cudaGetLastError();
    if (status == cudaErrorMemoryAllocation)
        fail(PCONV_ERROR_OUT_OF_MEMORY,
             "no device memory for a buffer of " + std::to_string(bytes) + " bytes");
    check(status, "allocating device memory");
}

OwnedCudaBuffer::~OwnedCudaBuffer() {
    if (stream_->pool() != nullptr)
        cudaFreeAsync(data_, stream_->queue());
    else
        cudaFree(data_);  // waits for the device
    host_.released(size());
}

HostCudaBuffer::HostCudaBuffer(std::shared_ptr<Stream> stream, void* memory, size_t bytes)
    : CudaBuffer(nullptr, bytes), stream_(std::move(stream)), memory_(memory) {
    const CurrentDevice current(stream_->device());
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, memory), "cudaPointerGetAttributes");
    // Memory that the host has pinned itself can be used as it is.
    if (attributes.type == cudaMemoryTypeUnregistered) {
        const cudaError_t status =
            cudaHostRegister(memory, bytes, cudaHostRegisterMapped | cudaHostRegisterPortable);
        if (status != cudaSuccess) {
            cudaGetLastError();
            fail(status == cudaErrorMemoryAllocation ? PCONV_ERROR_OUT_OF_MEMORY : PCONV_ERROR_UNSUPPORTED,
                 "this device cannot use this host memory in place: " + cudaText(status));
        }
        registered_ = true;
    }
    const cudaError_t status = cudaHostGetDevicePointer(&data_, memory, 0);
    if (status == cudaSuccess) return;
    cudaGetLastError();
    if (registered_) cudaHostUnregister(memory);
    fail(PCONV_ERROR_UNSUPPORTED, "this device cannot use this host memory in place: " + cudaText(status));
}

HostCudaBuffer::~HostCudaBuffer() {
    cudaStreamSynchronize(stream_->queue());
    if (registered_) cudaHostUnregister(memory_);
}

std::shared_ptr<CudaBuffer> importPointer(int device, uint64_t handle, size_t offset, size_t bytes) {
    void* pointer = reinterpret_cast<void*>(static_cast<uintptr_t>(handle));
    cudaPointerAttributes attributes{};
    check(cudaPointerGetAttributes(&attributes, pointer), "cudaPointerGetAttributes");
    if (attributes.type != cudaMemoryTypeDevice && attributes.type != cudaMemoryTypeManaged)
        fail(PCONV_ERROR_INVALID_ARGUMENT, "handle is no pointer to CUDA device memory");
    if (attributes.type == cudaMemoryTypeDevice && attributes.device != device)
        fail(PCONV_ERROR_INVALID_ARGUMENT, "handle lies on CUDA device " + std::to_string(attributes.device) +
                                               "; expected device " + std::to_string(device));
    return std::make_shared<CudaBuffer>(static_cast<char*>(pointer) + offset, bytes);
}

// ---- Pinned memory --------------------------------------------------------------------------------------

PinnedRing::~PinnedRing() {
    while (!pieces_.empty()) {
        cudaEventSynchronize(pieces_.front().done);
        idle_events_.push_back(pieces_.front().done);
        pieces_.pop_front();
    }
    for (cudaEvent_t event : idle_events_) cudaEventDestroy(event);
    if (memory_ != nullptr) cudaFreeHost(memory_);
}

void PinnedRing::retireOldest() {
    check(cudaEventSynchronize(pieces_.front().done), "waiting for a copy");
    idle_events_.push_back(pieces_.front().done);
    pieces_.pop_front();
}

void PinnedRing::waitForAllBut(size_t count) {
    while (pieces_.size() > count) retireOldest();
}

void* PinnedRing::take(size_t bytes) {
    if (memory_ == nullptr) {
        void* memory = nullptr;
        check(cudaMallocHost(&memory, kSize), "allocating pinned memory");
        memory_ = static_cast<char*>(memory);
    }
    const size_t begin = head_ + bytes <= kSize ? head_ : 0;
    // The ring holds its pieces in order, so those in the way are the oldest.
    const auto in_the_way = [&](const Piece& piece) {
        return piece.begin < begin + bytes && piece.end > begin;
    };
    while (std::any_of(pieces_.begin(), pieces_.end(), in_the_way)) retireOldest();
    taken_begin_ = begin;
    head_ = begin + bytes;
    return memory_ + begin;
}

void PinnedRing::used(cudaStream_t stream) {
    if (idle_events_.empty()) {
        cudaEvent_t event = nullptr;
        check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "cudaEventCreateWithFlags");
        idle_events_.push_back(event);
    }
    check(cudaEventRecord(idle_events_.back(), stream), "cudaEventRecord");
    pieces_.push_back({taken_begin_, head_, idle_events_.back()});
    idle_events_.pop_back();
}

}  // namespace pconv::cuda
