// Work captured into a graph, which is launched again and again.
#pragma once

#include <functional>
#include <memory>

#include "cuda/device/memory.h"

namespace pconv::cuda {

class CudaRecording final : public Recording {
  public:
    // Runs `enqueue`, whose work is captured; what it throws leaves the stream as it was.
    CudaRecording(std::shared_ptr<Stream> stream, const std::function<void()>& enqueue);
    ~CudaRecording() override;  // a graph in flight goes when it has run
    void submit() override;

  private:
    std::shared_ptr<Stream> stream_;
    cudaGraphExec_t graph_ = nullptr;
};

}  // namespace pconv::cuda
