// Commands kept to be submitted any number of times, with all that they use.
#pragma once

#include <memory>
#include <unordered_set>
#include <vector>

#include "vulkan/device/buffer.h"

namespace pconv::vulkan {

// Command buffers, one for each cap of work, and their descriptor sets. Shared by the recording and by every
// submission of it in flight.
class RecordedWork {
  public:
    explicit RecordedWork(Context& context);
    RecordedWork(const RecordedWork&) = delete;
    RecordedWork& operator=(const RecordedWork&) = delete;
    ~RecordedWork();

    // One more command buffer, begun.
    VkCommandBuffer addCommands();
    VkDescriptorSet addSet(VkDescriptorSetLayout layout);
    void use(VulkanBuffer& buffer);
    void keep(std::shared_ptr<const void> object) { kept_.push_back(std::move(object)); }

    const std::vector<VkCommandBuffer>& commands() const { return commands_; }
    // All its buffers are in use until this submission has run.
    void setLastUse(uint64_t serial);

  private:
    Context& context_;
    VkCommandPool pool_ = VK_NULL_HANDLE;
    std::vector<VkCommandBuffer> commands_;
    std::vector<VkDescriptorPool> descriptors_;
    uint32_t sets_left_ = 0;
    std::unordered_set<VulkanBuffer*> known_;
    std::vector<std::shared_ptr<VulkanBuffer>> buffers_;
    std::vector<std::shared_ptr<const void>> kept_;
};

class Stream;

class VulkanRecording final : public Recording {
  public:
    // Runs `enqueue`, whose commands are kept; what it throws leaves the stream as it was.
    VulkanRecording(Stream& stream, const std::function<void()>& enqueue);
    void submit() override;

  private:
    Stream& stream_;
    std::shared_ptr<RecordedWork> work_;
};

}  // namespace pconv::vulkan
