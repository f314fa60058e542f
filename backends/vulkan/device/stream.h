// The device's one queue, in order: commands are recorded into a few submissions used in turn, each with its
// command buffer, descriptor sets and fence, all made beforehand.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "vulkan/device/buffer.h"
#include "vulkan/device/pace.h"

namespace pconv::vulkan {

// A pipeline with what binding it needs; see vulkan_pipelines.h.
struct Pipeline;
class RecordedWork;

// For this many sets of any pipeline's layout.
VkDescriptorPool createDescriptorPool(Context& context, uint32_t sets);

// What a binding of a dispatch sees. `offset` must keep binding_alignment.
struct Binding {
    const VulkanBuffer* buffer = nullptr;
    size_t offset = 0;  // bytes from the buffer's byte 0, its base included
    size_t range = 0;
};

class Stream {
  public:
    Stream(Context& context, MemoryAllocator& allocator);
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    ~Stream();  // waits

    // Starts an operation: what it does comes after all before it.
    void beginOperation();
    // Submits where the device would otherwise idle, enough has gathered, or the host's own work may come
    // next.
    void endOperation();
    // Keeps the buffer alive, and known to be in use, until the operation's commands have run.
    void use(VulkanBuffer& buffer);
    void keep(std::shared_ptr<const void> object);

    // One dispatch; `work` counts multiplications, and a submission takes up to a cap of them, which follows
    // how fast the device is found to be.
    void dispatch(const Pipeline& pipeline, const std::vector<Binding>& bindings, const void* push,
                  size_t push_bytes, const std::array<uint32_t, 3>& groups, uint64_t work);
    void copy(const VulkanBuffer& from, const VulkanBuffer& to, const std::vector<VkBufferCopy>& regions);
    void fill(const VulkanBuffer& buffer, size_t bytes, uint32_t value, size_t offset = 0);
    // Between commands of one operation where the later need the earlier's results.
    void barrier();
    // Has the queue's clock written to a query once all before has run; returns the submission's serial.
    uint64_t timestamp(VkQueryPool queries, uint32_t index);

    // From here on operations are kept in place of running, until the work is taken or given up. What needs
    // the host at a certain time, copies and waits, is refused meanwhile.
    void beginRecording();
    std::shared_ptr<RecordedWork> endRecording();
    void cancelRecording() noexcept;
    void refuseInRecording(const char* what) const;
    // Throws Error device where the device has failed once.
    void refuseIfFailed() const;
    void submit(const std::shared_ptr<RecordedWork>& work);

    // Host memory for a copy, valid until the operation's commands have run; at most kStagingPiece bytes.
    struct Staging {
        std::shared_ptr<VulkanBuffer> buffer;
        size_t offset = 0;
        void* memory = nullptr;
    };
    static constexpr size_t kStagingPiece = size_t{1} << 20;
    Staging stage(size_t bytes);

    void flush();
    bool completed(uint64_t serial);
    void wait(uint64_t serial);
    void waitAll();
    size_t submissions() const { return submission_count_; }
    const Pace& pace() const { return pace_; }

  private:
    struct Submission {
        VkCommandPool pool = VK_NULL_HANDLE;
        VkCommandBuffer commands = VK_NULL_HANDLE;
        VkDescriptorPool descriptors = VK_NULL_HANDLE;
        VkFence fence = VK_NULL_HANDLE;
        VkQueryPool queries = VK_NULL_HANDLE;  // its beginning and end; null where they are not looked at
        uint64_t serial = 0;
        uint32_t sets = 0;
        uint32_t operations = 0;
        uint64_t work = 0;
        std::vector<std::shared_ptr<const void>> kept;
    };
    void orderAfter(VkPipelineStageFlags stages, VkAccessFlags writes);

    void create(Submission& submission);
    void destroyAll() noexcept;
    void must(VkResult result, const char* what);
    void mark(const Submission& submission, uint32_t index) const;
    void measure(const Submission& submission);
    Submission& open();
    void retire(bool wait_for_oldest);
    Submission& takeIdle();
    void submitAll(const std::vector<VkCommandBuffer>& commands, VkFence fence);
    VkDescriptorSet allocateSet(Submission& submission, VkDescriptorSetLayout layout);

    Context& context_;
    MemoryAllocator& allocator_;
    std::vector<std::unique_ptr<Submission>> all_;
    std::vector<Submission*> idle_;
    std::deque<Submission*> pending_;
    Submission* current_ = nullptr;
    // What the operation under way uses; again kept by every submission it is spread over.
    std::vector<std::shared_ptr<const void>> operation_kept_;
    std::vector<std::shared_ptr<VulkanBuffer>> operation_buffers_;
    uint64_t next_serial_ = 1;
    uint64_t completed_serial_ = 0;
    size_t submission_count_ = 0;
    Pace pace_;
    std::string failure_;  // what the device failed with, once it has
    std::shared_ptr<RecordedWork> recording_;
    Submission recorded_;  // what of it is being recorded

    std::shared_ptr<VulkanBuffer> staging_;
    size_t staging_head_ = 0;
    struct StagedPiece {
        size_t begin, end;
        uint64_t serial;
    };
    std::deque<StagedPiece> staged_;
};

}  // namespace pconv::vulkan
