#include "cuda/device/memory.h"

#include <algorithm>
#include <mutex>
#include <string>

namespace pconv::cuda {

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
    const CurrentDevice current(device_, std::nothrow);
    if (!current.made()) return;  // a device that is lost has nothing left to release
    cudaStreamSynchronize(stream_);
    if (capture_ != nullptr) cudaStreamDestroy(capture_);
    if (pool_ != nullptr) cudaMemPoolDestroy(pool_);
    if (owned_) cudaStreamDestroy(stream_);
}

void Stream::wait() {
    refuseInCapture("waiting");
    check(cudaStreamSynchronize(stream_), "waiting for the stream");
}

void Stream::refuseInCapture(const char* what) const {
    if (capturing_) fail(PCONV_ERROR_UNSUPPORTED, std::string(what) + " cannot be recorded");
}

void Stream::refuseInHostsCapture(const char* what) const {
    if (owned_) return;
    cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
    check(cudaStreamIsCapturing(stream_, &status), "cudaStreamIsCapturing");
    if (status != cudaStreamCaptureStatusNone)
        fail(PCONV_ERROR_UNSUPPORTED, std::string(what) + " while the host captures the adopted stream");
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
    const CurrentDevice current(stream_->device());
    stream_->refuseInHostsCapture("no memory can be allocated");
    host_.allocated(bytes);
    cudaError_t status = cudaSuccess;
    try {
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
    // The legacy stream is that of the current device.
    if (const CurrentDevice current(stream_->device(), std::nothrow); current.made()) {
        if (stream_->pool() != nullptr)
            cudaFreeAsync(data_, stream_->queue());
        else
            cudaFree(data_);  // waits for the device
    }
    host_.released(size());
}

namespace {

// Memory of the host's that the runtime has pinned for us; who imports it again shares it.
class Registration {
  public:
    Registration(char* begin, size_t bytes) : begin_(begin), end_(begin + bytes) {
        const cudaError_t status =
            cudaHostRegister(begin, bytes, cudaHostRegisterMapped | cudaHostRegisterPortable);
        if (status == cudaSuccess) return;
        cudaGetLastError();
        fail(status == cudaErrorMemoryAllocation ? PCONV_ERROR_OUT_OF_MEMORY : PCONV_ERROR_UNSUPPORTED,
             "this device cannot use this host memory in place: " + cudaText(status));
    }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    ~Registration() { cudaHostUnregister(begin_); }
    bool holds(const char* begin, size_t bytes) const { return begin >= begin_ && begin + bytes <= end_; }

    // That which holds the range; null where none does and the runtime says that someone else has pinned it.
    static std::shared_ptr<const Registration> of(char* begin, size_t bytes) {
        static std::mutex mutex;
        // Never destroyed: devices may be closed while the process ends.
        static auto& all = *new std::vector<std::weak_ptr<const Registration>>;
        const std::lock_guard<std::mutex> lock(mutex);
        all.erase(std::remove_if(all.begin(), all.end(), [](const auto& one) { return one.expired(); }),
                  all.end());
        for (const auto& one : all)
            if (auto shared = one.lock(); shared != nullptr && shared->holds(begin, bytes)) return shared;
        cudaPointerAttributes attributes{};
        check(cudaPointerGetAttributes(&attributes, begin), "cudaPointerGetAttributes");
        if (attributes.type != cudaMemoryTypeUnregistered) return nullptr;
        auto made = std::make_shared<const Registration>(begin, bytes);
        all.push_back(made);
        return made;
    }

  private:
    char* begin_;
    char* end_;
};

}  // namespace

HostCudaBuffer::HostCudaBuffer(std::shared_ptr<Stream> stream, void* memory, size_t bytes)
    : CudaBuffer(nullptr, bytes), stream_(std::move(stream)), memory_(memory) {
    const CurrentDevice current(stream_->device());
    registration_ = Registration::of(static_cast<char*>(memory), bytes);
    const cudaError_t status = cudaHostGetDevicePointer(&data_, memory, 0);
    if (status == cudaSuccess) return;
    cudaGetLastError();
    fail(PCONV_ERROR_UNSUPPORTED, "this device cannot use this host memory in place: " + cudaText(status));
}

HostCudaBuffer::~HostCudaBuffer() {
    const CurrentDevice current(stream_->device(), std::nothrow);
    if (current.made()) cudaStreamSynchronize(stream_->queue());
    registration_.reset();
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
