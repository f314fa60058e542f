// The seam's device: one Vulkan device with its memory, pipelines and queue.
#pragma once

#include "vulkan/device/pipelines.h"
#include "vulkan/device/stream.h"
#include "vulkan/plan.h"

namespace pconv::vulkan {

class VulkanDevice final : public Device {
  public:
    // The host's own where it lends one.
    VulkanDevice(std::shared_ptr<Instance> instance, VkPhysicalDevice physical, Host& host,
                 const BorrowedDevice* borrowed = nullptr);
    ~VulkanDevice() override;

    const DeviceInfo& info() const override { return context_.capabilities().info; }
    const std::vector<const Implementation*>& implementations() const override { return implementations_; }
    std::vector<const Implementation*> preferredFor(const PartialConvDesc& desc) const override;
    std::shared_ptr<Buffer> allocate(size_t bytes) override { return createBuffer(bytes); }
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
    std::unique_ptr<Recording> record(std::function<void()> enqueue) override;
    std::unique_ptr<Timer> makeTimer() override;
    std::unique_ptr<MaskedBatchNorm> makeMaskedBatchNorm(const MaskedNormDesc& desc) override;
    std::unique_ptr<MaskedSpatialMean> makeMaskedSpatialMean(const MaskedNormDesc& desc) override;

    std::shared_ptr<VulkanBuffer> createBuffer(size_t bytes);
    // A buffer with these contents.
    template <typename T>
    std::shared_ptr<VulkanBuffer> createTable(const std::vector<T>& values) {
        auto buffer = createBuffer(values.size() * sizeof(T));
        write(*buffer, 0, values.data(), values.size() * sizeof(T));
        return buffer;
    }

    const Capabilities& capabilities() const { return context_.capabilities(); }
    Pipelines& pipelines() { return pipelines_; }
    Stream& stream() { return stream_; }
    PlanLimits limits() const;
    const MemoryAllocator& memory() const { return memory_; }

    // What a binding sees of `span` bytes of a tensor at `offset`; `origin` gets where the tensor's element 0
    // lies, in elements from the binding's start.
    Binding bind(const VulkanBuffer& buffer, size_t offset, int64_t begin, int64_t end, size_t element,
                 int32_t& origin) const;
    Binding bind(const VulkanBuffer& buffer, size_t offset, const Span& bytes, size_t element,
                 int32_t& origin) const {
        return bind(buffer, offset, bytes.begin, bytes.end, element, origin);
    }
    Binding bindWhole(const VulkanBuffer& buffer) const;

  private:
    Context context_;
    MemoryAllocator memory_;
    Pipelines pipelines_;
    std::vector<const Implementation*> implementations_;
    Stream stream_;
};

const Implementation& vulkanDirect();
const Implementation& vulkanGemm();
const Implementation& vulkanCoopmat();

}  // namespace pconv::vulkan
