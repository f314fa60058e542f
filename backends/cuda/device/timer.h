// Time on a stream, by events.
#pragma once

#include <memory>

#include "cuda/device/memory.h"

namespace pconv::cuda {

// A pair of events around what a stream does.
class EventPair {
  public:
    EventPair();
    EventPair(const EventPair&) = delete;
    EventPair& operator=(const EventPair&) = delete;
    ~EventPair();
    void begin(cudaStream_t stream);
    void end(cudaStream_t stream);
    // Waits for the end.
    double seconds() const;

  private:
    cudaEvent_t begin_ = nullptr;
    cudaEvent_t end_ = nullptr;
};

class CudaTimer final : public Timer {
  public:
    explicit CudaTimer(std::shared_ptr<Stream> stream);
    void start() override;
    void stop() override;
    double seconds() override;

  private:
    std::shared_ptr<Stream> stream_;
    std::unique_ptr<EventPair> events_;
};

}  // namespace pconv::cuda
