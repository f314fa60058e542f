#include "vulkan/device/device.h"

#include <algorithm>
#include <cstring>

#include "vulkan/device/recording.h"
#include "vulkan/device/timer.h"

namespace pconv::vulkan {

namespace {

VulkanBuffer& own(Buffer& buffer) {
    return static_cast<VulkanBuffer&>(buffer);
}

// By preference, for most problems. Shared memory costs a software device much and gives it nothing. What a
// device has no matrices for declines, and says why.
std::vector<const Implementation*> rows(const Capabilities& capabilities) {
    if (capabilities.info.type == DeviceType::software)
        return {&vulkanDirect(), &vulkanGemm(), &vulkanCoopmat()};
    return {&vulkanCoopmat(), &vulkanGemm(), &vulkanDirect()};
}

}  // namespace

VulkanDevice::VulkanDevice(std::shared_ptr<Instance> instance, VkPhysicalDevice physical, Host& host,
                           const BorrowedDevice* borrowed)
    : context_(std::move(instance), physical, borrowed, host),
      memory_(context_),
      pipelines_(context_),
      implementations_(rows(capabilities())),
      stream_(context_, memory_) {}

VulkanDevice::~VulkanDevice() {
    try {
        stream_.waitAll();
    } catch (const std::exception&) {
        // The device is lost; there is nobody left to tell.
    }
}

std::vector<const Implementation*> VulkanDevice::preferredFor(const PartialConvDesc& desc) const {
    // Fewer channels leave most of a matrix product's tile empty.
    constexpr int64_t kLeastChannels = 8;
    if (info().type == DeviceType::software || desc.out_channels / desc.groups >= kLeastChannels)
        return implementations_;
    return {implementations_.rbegin(), implementations_.rend()};
}

std::shared_ptr<VulkanBuffer> VulkanDevice::createBuffer(size_t bytes) {
    stream_.refuseIfFailed();
    return std::make_shared<VulkanBuffer>(context_, memory_, bytes, MemoryKind::device);
}

std::shared_ptr<Buffer> VulkanDevice::importHost(void* memory, size_t bytes) {
    return std::make_shared<VulkanBuffer>(context_, memory, bytes);
}

std::shared_ptr<Buffer> VulkanDevice::importNative(uint64_t handle, size_t offset, size_t bytes) {
    if (!context_.borrowed())
        fail(PCONV_ERROR_UNSUPPORTED,
             "this device is pconv's own, and no VkBuffer is of it: adopt the device of the VkBuffer");
    return std::make_shared<VulkanBuffer>(context_, reinterpret_cast<VkBuffer>(handle), offset, bytes);
}

std::shared_ptr<Buffer> VulkanDevice::importExternal(const ExternalMemory& memory, size_t bytes) {
    stream_.refuseIfFailed();
    if (!context_.capabilities().import_external)
        fail(PCONV_ERROR_UNSUPPORTED,
             context_.borrowed()
                 ? "an adopted device imports no memory of other devices: import the VkBuffer over it"
                 : "this device's driver imports no memory of other devices");
    return std::make_shared<VulkanBuffer>(context_, memory, bytes);
}

void VulkanDevice::write(Buffer& buffer, size_t offset, const void* source, size_t bytes) {
    stream_.refuseInRecording("writing a buffer");
    VulkanBuffer& to = own(buffer);
    if (to.mapped() != nullptr && stream_.completed(to.lastUse())) {
        std::memcpy(static_cast<char*>(to.mapped()) + offset, source, bytes);
        to.hostWrote(offset, bytes);
        return;
    }
    while (bytes > 0) {
        const size_t piece = std::min(bytes, Stream::kStagingPiece);
        stream_.beginOperation();
        const Stream::Staging staging = stream_.stage(piece);
        std::memcpy(staging.memory, source, piece);
        staging.buffer->hostWrote(staging.offset, piece);
        stream_.use(to);
        stream_.copy(*staging.buffer, to, {{staging.offset, to.base() + offset, piece}});
        stream_.endOperation();
        source = static_cast<const char*>(source) + piece;
        offset += piece;
        bytes -= piece;
    }
}

void VulkanDevice::read(Buffer& buffer, size_t offset, void* destination, size_t bytes) {
    stream_.refuseInRecording("reading a buffer");
    VulkanBuffer& from = own(buffer);
    if (from.mapped() != nullptr) {
        stream_.wait(from.lastUse());
        from.hostReads(offset, bytes);
        std::memcpy(destination, static_cast<const char*>(from.mapped()) + offset, bytes);
        context_.instance().checkValidation();
        return;
    }
    while (bytes > 0) {
        const size_t piece = std::min(bytes, Stream::kStagingPiece);
        stream_.beginOperation();
        const Stream::Staging staging = stream_.stage(piece);
        stream_.use(from);
        stream_.copy(from, *staging.buffer, {{from.base() + offset, staging.offset, piece}});
        stream_.endOperation();
        stream_.wait(from.lastUse());
        staging.buffer->hostReads(staging.offset, piece);
        std::memcpy(destination, staging.memory, piece);
        destination = static_cast<char*>(destination) + piece;
        offset += piece;
        bytes -= piece;
    }
    context_.instance().checkValidation();
}

void VulkanDevice::wait() {
    stream_.refuseInRecording("waiting");
    stream_.waitAll();
    context_.instance().checkValidation();
}

std::unique_ptr<Recording> VulkanDevice::record(std::function<void()> enqueue) {
    return std::make_unique<VulkanRecording>(stream_, enqueue);
}

std::unique_ptr<Timer> VulkanDevice::makeTimer() {
    if (context_.timestampBits() == 0) return nullptr;
    return std::make_unique<VulkanTimer>(context_, stream_);
}

Binding VulkanDevice::bind(const VulkanBuffer& buffer, size_t offset, int64_t begin, int64_t end,
                           size_t element, int32_t& origin) const {
    const auto align = static_cast<int64_t>(std::max<size_t>(capabilities().binding_alignment, 16));
    const auto zero = static_cast<int64_t>(buffer.base() + offset);
    const int64_t start = (zero + begin) / align * align;
    const auto limit = static_cast<int64_t>(buffer.base() + buffer.extent());
    // Whole words, as kernels may touch the rest of the last one.
    const int64_t stop = std::min((zero + end + 3) / 4 * 4, limit);
    origin = static_cast<int32_t>((zero - start) / static_cast<int64_t>(element));
    return {&buffer, static_cast<size_t>(start), static_cast<size_t>(stop - start)};
}

PlanLimits VulkanDevice::limits() const {
    PlanLimits limits;
    limits.max_range = static_cast<int64_t>(capabilities().max_range);
    limits.alignment = static_cast<int64_t>(std::max<size_t>(capabilities().binding_alignment, 16));
    limits.max_work = capabilities().max_work;
    std::copy_n(capabilities().properties.limits.maxComputeWorkGroupCount, 3, limits.max_groups.begin());
    return limits;
}

Binding VulkanDevice::bindWhole(const VulkanBuffer& buffer) const {
    return {&buffer, buffer.base(), std::min(buffer.extent(), capabilities().max_range)};
}

}  // namespace pconv::vulkan
