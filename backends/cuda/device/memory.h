// Device memory in stream order, the host's memory in its place, and pinned memory for copies.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "backend.h"
#include "cuda/device/current.h"
#include "cuda/device/status.h"

namespace pconv::cuda {

// The one stream of a device, its own or the host's, and the pool that its memory comes from.
class Stream {
  public:
    explicit Stream(int device);
    Stream(int device, cudaStream_t adopted);
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream();  // waits

    int device() const { return device_; }
    // Where memory is allocated and freed, and what has been recorded is submitted.
    cudaStream_t queue() const { return stream_; }
    // Where work is enqueued: the queue, or what captures while work is recorded.
    cudaStream_t handle() const { return capturing_ ? capture_ : stream_; }
    cudaMemPool_t pool() const { return pool_; }  // null where the device has none
    void wait();
    // Throws where the host is capturing this stream, in which `what` cannot be had.
    void refuseInHostsCapture(const char* what) const;

    // From here on work is captured, on a stream of our own, as the host's may be the legacy one, which
    // cannot.
    void beginCapture();
    cudaGraph_t endCapture();
    void cancelCapture() noexcept;
    void refuseInCapture(const char* what) const;

  private:
    void makePool();

    int device_;
    bool owned_;
    cudaStream_t stream_ = nullptr;
    cudaMemPool_t pool_ = nullptr;
    cudaStream_t capture_ = nullptr;
    bool capturing_ = false;
};

class CudaBuffer : public Buffer {
  public:
    CudaBuffer(void* data, size_t bytes) : Buffer(bytes), data_(data) {}
    // As the device sees it.
    char* data() const { return static_cast<char*>(data_); }
    uintptr_t address() override { return reinterpret_cast<uintptr_t>(data_); }

  protected:
    void* data_;
};

// Allocated and freed in stream order: memory released while work uses it is free for what is enqueued next.
class OwnedCudaBuffer final : public CudaBuffer {
  public:
    OwnedCudaBuffer(std::shared_ptr<Stream> stream, Host& host, size_t bytes);
    ~OwnedCudaBuffer() override;

  private:
    std::shared_ptr<Stream> stream_;
    Host& host_;
};

// The host's memory, mapped; releasing it waits, as it may not be unmapped in use.
class HostCudaBuffer final : public CudaBuffer {
  public:
    HostCudaBuffer(std::shared_ptr<Stream> stream, void* memory, size_t bytes);
    ~HostCudaBuffer() override;
    void* hostPointer() override { return memory_; }

  private:
    std::shared_ptr<Stream> stream_;
    void* memory_;
    std::shared_ptr<const void> registration_;  // null for memory that the host has pinned
};

// Device memory of the host's.
std::shared_ptr<CudaBuffer> importPointer(int device, uint64_t handle, size_t offset, size_t bytes);

// A ring of pinned memory that copies go through, so that a write need not wait for the stream.
class PinnedRing {
  public:
    PinnedRing() = default;
    PinnedRing(const PinnedRing&) = delete;
    PinnedRing& operator=(const PinnedRing&) = delete;
    ~PinnedRing();

    static constexpr size_t kPiece = size_t{1} << 20;  // the most that one call takes
    // Memory for a copy; waits where the copies before have taken it all.
    void* take(size_t bytes);
    // The copy of what was taken last has been enqueued.
    void used(cudaStream_t stream);
    // Waits for all copies but the newest `count`.
    void waitForAllBut(size_t count);

  private:
    static constexpr size_t kSize = 8 * kPiece;
    struct Piece {
        size_t begin, end;
        cudaEvent_t done;
    };
    void retireOldest();

    char* memory_ = nullptr;
    size_t head_ = 0;
    size_t taken_begin_ = 0;
    std::deque<Piece> pieces_;
    std::vector<cudaEvent_t> idle_events_;
};

}  // namespace pconv::cuda
