#include "vulkan/device/recording.h"

#include "vulkan/device/stream.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kSetsPerPool = 64;

}  // namespace

RecordedWork::RecordedWork(Context& context) : context_(context) {
    auto pool = structure<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
    pool.queueFamilyIndex = context_.queueFamily();
    check(context_.api().CreateCommandPool(context_.device(), &pool, nullptr, &pool_), "vkCreateCommandPool");
}

RecordedWork::~RecordedWork() {
    const DeviceApi& api = context_.api();
    api.DestroyCommandPool(context_.device(), pool_, nullptr);
    for (VkDescriptorPool pool : descriptors_) api.DestroyDescriptorPool(context_.device(), pool, nullptr);
}

VkCommandBuffer RecordedWork::addCommands() {
    const DeviceApi& api = context_.api();
    commands_.reserve(commands_.size() + 1);
    auto info = structure<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
    info.commandPool = pool_;
    info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    info.commandBufferCount = 1;
    VkCommandBuffer commands = VK_NULL_HANDLE;
    check(api.AllocateCommandBuffers(context_.device(), &info, &commands), "vkAllocateCommandBuffers");
    auto begin = structure<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
    begin.flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT;
    check(api.BeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
    commands_.push_back(commands);
    return commands;
}

VkDescriptorSet RecordedWork::addSet(VkDescriptorSetLayout layout) {
    const DeviceApi& api = context_.api();
    if (sets_left_ == 0) {
        descriptors_.push_back(VK_NULL_HANDLE);
        descriptors_.back() = createDescriptorPool(context_, kSetsPerPool);
        sets_left_ = kSetsPerPool;
    }
    auto info = structure<VkDescriptorSetAllocateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO);
    info.descriptorPool = descriptors_.back();
    info.descriptorSetCount = 1;
    info.pSetLayouts = &layout;
    VkDescriptorSet set = VK_NULL_HANDLE;
    check(api.AllocateDescriptorSets(context_.device(), &info, &set), "vkAllocateDescriptorSets");
    --sets_left_;
    return set;
}

void RecordedWork::use(VulkanBuffer& buffer) {
    if (known_.insert(&buffer).second) buffers_.push_back(buffer.shared_from_this());
}

void RecordedWork::setLastUse(uint64_t serial) {
    for (const auto& buffer : buffers_) buffer->setLastUse(serial);
}

VulkanRecording::VulkanRecording(Stream& stream, const std::function<void()>& enqueue) : stream_(stream) {
    stream_.beginRecording();
    try {
        enqueue();
        work_ = stream_.endRecording();
    } catch (...) {
        stream_.cancelRecording();
        throw;
    }
}

void VulkanRecording::submit() {
    stream_.submit(work_);
}

}  // namespace pconv::vulkan
