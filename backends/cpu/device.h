// The CPU device: memory of the host, work done within the call.
#pragma once

#include <memory>
#include <vector>

#include "backend.h"
#include "cpu/parallel.h"
#include "cpu/scratch.h"

namespace pconv::cpu {

class CpuBuffer final : public Buffer {
  public:
    // Owned memory, counted against the host's limit.
    CpuBuffer(Host& host, size_t bytes);
    // The caller's memory.
    CpuBuffer(void* memory, size_t bytes) : Buffer(bytes), data_(memory) {}
    ~CpuBuffer() override;
    void* hostPointer() override { return data_; }

  private:
    Host* host_ = nullptr;
    void* data_ = nullptr;
};

class CpuDevice final : public Device {
  public:
    explicit CpuDevice(Host& host);
    const DeviceInfo& info() const override { return info_; }
    const std::vector<const Implementation*>& implementations() const override { return implementations_; }
    std::shared_ptr<Buffer> allocate(size_t bytes) override;
    std::shared_ptr<Buffer> importHost(void* memory, size_t bytes) override;
    void write(Buffer& buffer, size_t offset, const void* source, size_t bytes) override;
    void read(Buffer& buffer, size_t offset, void* destination, size_t bytes) override;
    void wait() override {}
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
    // oneDNN's channels-last kernels for AVX2 take up to 1.6 times as long as its blocked ones with the
    // copies in and out, which serve contiguous tensors best; with AVX-512 there is no difference.
    Layout preferredLayout() const override { return Layout::contiguous; }
    std::unique_ptr<MaskedBatchNorm> makeMaskedBatchNorm(const MaskedNormDesc& desc) override;
    std::unique_ptr<MaskedSpatialMean> makeMaskedSpatialMean(const MaskedNormDesc& desc) override;
    Host& host() const { return host_; }
    Threads threads() const { return threads_; }
    const std::shared_ptr<SharedScratch>& scratch() const { return scratch_; }

  private:
    Host& host_;
    ThreadPool pool_;
    Threads threads_;
    DeviceInfo info_;
    std::shared_ptr<SharedScratch> scratch_;
    std::vector<const Implementation*> implementations_;
};

DeviceInfo describeCpu();

// The first element of a view.
template <typename T>
T* pointer(const TensorRef& tensor) {
    return reinterpret_cast<T*>(static_cast<char*>(tensor.buffer->hostPointer()) + tensor.offset);
}

// What every CPU row's mask update offers to every CPU row's convolution.
class CpuMaskUpdate : public MaskUpdate {
  public:
    CpuMaskUpdate(const PartialConvDesc& desc, const MaskForm& form, const MaskPlanes& results)
        : desc_(desc), form_(form), results_(results) {}
    void compute(const std::vector<TensorRef>& planes) override {
        planes_ = planes;
        computeResults();
    }
    const MaskForm& form() const { return form_; }
    const MaskPlanes& results() const { return results_; }
    const std::vector<TensorRef>& planes() const { return planes_; }

  protected:
    virtual void computeResults() = 0;
    PartialConvDesc desc_;
    MaskForm form_;
    MaskPlanes results_;
    std::vector<TensorRef> planes_;  // one a segment
};

// The plane of an input channel: its segment's view and the index of the plane in it.
struct PlaneIndex {
    size_t segment;
    int64_t plane;
};
PlaneIndex planeOfChannel(const MaskForm& form, bool multi_channel, int64_t channel);

// The rows, in files of their own.
const Implementation& cpuReference();
const Implementation& cpuOnednn();

}  // namespace pconv::cpu
