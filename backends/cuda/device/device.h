// A CUDA device: one stream, the memory in its order, and the rows that run on it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.h"
#include "cuda/device/memory.h"
#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

class CudnnContext;

class CudaDevice final : public Device {
  public:
    CudaDevice(int index, std::shared_ptr<Stream> stream, Host& host);
    ~CudaDevice() override;

    const DeviceInfo& info() const override { return info_; }
    const std::vector<const Implementation*>& implementations() const override { return implementations_; }
    std::vector<const Implementation*> preferredFor(const PartialConvDesc& desc) const override;
    std::shared_ptr<Buffer> allocate(size_t bytes) override;
    std::shared_ptr<Buffer> importHost(void* memory, size_t bytes) override;
    std::shared_ptr<Buffer> importNative(uint64_t handle, size_t offset, size_t bytes) override;
    std::shared_ptr<Buffer> importExternal(const ExternalMemory& memory, size_t bytes) override;
    void write(Buffer& buffer, size_t offset, const void* source, size_t bytes) override;
    void read(Buffer& buffer, size_t offset, void* destination, size_t bytes) override;
    void wait() override;
    void convert(const TensorRef& source, const TensorRef& destination,
                 const std::array<int64_t, 5>& dims) override;
    void unpackBits(const TensorRef& bits, const TensorRef& bytes,
                    const std::array<int64_t, 5>& dims) override;
    void upsample(const TensorRef& source, const TensorRef& destination, const std::array<int64_t, 5>& dims,
                  const Dims3& factor) override;
    void pad(const TensorRef& source, const TensorRef& destination, const std::array<int64_t, 5>& dims,
             const Padding& padding) override;
    void foldPadding(const TensorRef& source, const TensorRef& destination,
                     const std::array<int64_t, 5>& dims, const Padding& padding, bool accumulate) override;
    void pass(const PassDesc& desc, const PassOperands& operands) override;
    // cuDNN's and cuda:igemm's.
    Layout preferredLayout() const override { return Layout::channels_last; }
    std::unique_ptr<Recording> record(std::function<void()> enqueue) override;
    std::unique_ptr<Timer> makeTimer() override;
    std::unique_ptr<MaskedBatchNorm> makeMaskedBatchNorm(const MaskedNormDesc& desc) override;
    std::unique_ptr<MaskedSpatialMean> makeMaskedSpatialMean(const MaskedNormDesc& desc) override;

    int index() const { return index_; }
    int multiprocessors() const { return multiprocessors_; }
    cudaStream_t stream() const { return stream_->handle(); }
    Host& host() const { return host_; }
    // The device's handle of cuDNN, made when it is first asked for.
    CudnnContext& cudnn() const;

  private:
    int index_;
    int multiprocessors_ = 0;
    std::shared_ptr<Stream> stream_;
    Host& host_;
    DeviceInfo info_;
    std::vector<const Implementation*> implementations_;
    std::unique_ptr<PinnedRing> pinned_;
    mutable std::unique_ptr<CudnnContext> cudnn_;
};

DeviceInfo describeDevice(int index);
// The devices of the CUDA runtime that the kernels were built for; `reason` where there is none.
std::vector<int> usableDevices(std::string& reason);

// The first element of a view, as the device sees it.
inline void* pointer(const TensorRef& tensor) {
    return static_cast<const CudaBuffer&>(*tensor.buffer).data() + tensor.offset;
}

inline View view(const TensorRef& tensor) {
    View result{pointer(tensor), {}};
    for (size_t d = 0; d < 5; ++d) result.strides[d] = tensor.strides[d];
    return result;
}

// The rows, in files of their own.
const Implementation& cudaCudnn();
const Implementation& cudaIgemm();
const Implementation& cudaDirect();

// The order in which they are asked; a function of the descriptor alone, to be replaced by what is measured.
std::vector<const Implementation*> preferredRows(const PartialConvDesc& desc);

}  // namespace pconv::cuda
