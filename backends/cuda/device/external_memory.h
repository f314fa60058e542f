// Memory that Vulkan, Direct3D or another process allocated on the device.
#pragma once

#include "cuda/device/memory.h"

namespace pconv::cuda {

// Releasing it waits, as memory may not be unmapped in use.
class ExternalCudaBuffer final : public CudaBuffer {
  public:
    ExternalCudaBuffer(std::shared_ptr<Stream> stream, const ExternalMemory& memory, size_t bytes);
    ~ExternalCudaBuffer() override;

  private:
    std::shared_ptr<Stream> stream_;
    cudaExternalMemory_t memory_ = nullptr;
    void* mapped_ = nullptr;  // all of it
};

}  // namespace pconv::cuda
