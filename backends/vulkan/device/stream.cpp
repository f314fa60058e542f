#include "vulkan/device/stream.h"

#include <algorithm>

#include "vulkan/device/pipelines.h"
#include "vulkan/device/recording.h"

namespace pconv::vulkan {

namespace {

constexpr uint32_t kSubmissions = 6;
// Where the host's work may come between, each operation is one, and none waits for those before it.
constexpr uint32_t kBorrowedSubmissions = 64;
constexpr uint32_t kSetsPerSubmission = 128;
constexpr uint32_t kOperationsPerSubmission = 32;
constexpr size_t kStagingSize = size_t{4} << 20;
constexpr VkPipelineStageFlags kWork = VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
constexpr VkAccessFlags kWrites = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
constexpr VkAccessFlags kReads =
    VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_UNIFORM_READ_BIT;

}  // namespace

VkDescriptorPool createDescriptorPool(Context& context, uint32_t sets) {
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, sets * kMaxStorageBindings},
                                          {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, sets}};
    auto info = structure<VkDescriptorPoolCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO);
    info.maxSets = sets;
    info.poolSizeCount = 2;
    info.pPoolSizes = sizes;
    VkDescriptorPool pool = VK_NULL_HANDLE;
    check(context.api().CreateDescriptorPool(context.device(), &info, nullptr, &pool),
          "vkCreateDescriptorPool");
    return pool;
}

Stream::Stream(Context& context, MemoryAllocator& allocator)
    : context_(context),
      allocator_(allocator),
      pace_(context.capabilities().max_work, context.capabilities().most_submission_work) {
    try {
        for (uint32_t i = 0; i < (context.borrowed() ? kBorrowedSubmissions : kSubmissions); ++i) {
            all_.push_back(std::make_unique<Submission>());
            create(*all_.back());
            idle_.push_back(all_.back().get());
        }
    } catch (...) {
        destroyAll();
        throw;
    }
}

Stream::~Stream() {
    const DeviceApi& api = context_.api();
    // Only where waiting for the fences has failed.
    if (!pending_.empty()) api.QueueWaitIdle(context_.queue());
    destroyAll();
}

void Stream::destroyAll() noexcept {
    const DeviceApi& api = context_.api();
    for (auto& submission : all_) {
        submission->kept.clear();
        api.DestroyFence(context_.device(), submission->fence, nullptr);
        api.DestroyQueryPool(context_.device(), submission->queries, nullptr);
        api.DestroyDescriptorPool(context_.device(), submission->descriptors, nullptr);
        api.DestroyCommandPool(context_.device(), submission->pool, nullptr);
    }
}

void Stream::create(Submission& submission) {
    const DeviceApi& api = context_.api();
    auto pool = structure<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
    pool.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
    pool.queueFamilyIndex = context_.queueFamily();
    check(api.CreateCommandPool(context_.device(), &pool, nullptr, &submission.pool), "vkCreateCommandPool");
    auto commands = structure<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
    commands.commandPool = submission.pool;
    commands.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    commands.commandBufferCount = 1;
    check(api.AllocateCommandBuffers(context_.device(), &commands, &submission.commands),
          "vkAllocateCommandBuffers");
    submission.descriptors = createDescriptorPool(context_, kSetsPerSubmission);
    const auto fence = structure<VkFenceCreateInfo>(VK_STRUCTURE_TYPE_FENCE_CREATE_INFO);
    check(api.CreateFence(context_.device(), &fence, nullptr, &submission.fence), "vkCreateFence");
    if (!context_.capabilities().watched || context_.timestampBits() == 0) return;
    auto queries = structure<VkQueryPoolCreateInfo>(VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO);
    queries.queryType = VK_QUERY_TYPE_TIMESTAMP;
    queries.queryCount = 2;
    check(api.CreateQueryPool(context_.device(), &queries, nullptr, &submission.queries),
          "vkCreateQueryPool");
}

// What has been given to the device is lost with a failure here, or half of an operation is: nothing that
// comes later would be right.
void Stream::must(VkResult result, const char* what) {
    try {
        check(result, what);
    } catch (const Error& error) {
        failure_ = error.what();
        current_ = nullptr;
        refuseIfFailed();
    }
}

void Stream::refuseIfFailed() const {
    if (!failure_.empty())
        fail(PCONV_ERROR_DEVICE, failure_ + "; what the device was given may be lost, and it takes no more");
}

// Takes back submissions that have run; the oldest is waited for if asked.
void Stream::retire(bool wait_for_oldest) {
    const DeviceApi& api = context_.api();
    while (!pending_.empty()) {
        Submission& oldest = *pending_.front();
        if (wait_for_oldest)
            must(api.WaitForFences(context_.device(), 1, &oldest.fence, VK_TRUE, UINT64_MAX),
                 "vkWaitForFences");
        else if (const VkResult status = api.GetFenceStatus(context_.device(), oldest.fence);
                 status == VK_NOT_READY)
            return;
        else
            must(status, "vkGetFenceStatus");
        wait_for_oldest = false;
        pending_.pop_front();
        measure(oldest);
        idle_.push_back(&oldest);
        completed_serial_ = oldest.serial;
        while (!staged_.empty() && staged_.front().serial <= completed_serial_) staged_.pop_front();
        oldest.kept.clear();
        must(api.ResetFences(context_.device(), 1, &oldest.fence), "vkResetFences");
        must(api.ResetDescriptorPool(context_.device(), oldest.descriptors, 0), "vkResetDescriptorPool");
        must(api.ResetCommandPool(context_.device(), oldest.pool, 0), "vkResetCommandPool");
    }
}

// On a device that a watchdog may look at: when a submission begins and ends.
void Stream::mark(const Submission& submission, uint32_t index) const {
    if (submission.queries == VK_NULL_HANDLE) return;
    const DeviceApi& api = context_.api();
    if (index == 0) api.CmdResetQueryPool(submission.commands, submission.queries, 0, 2);
    api.CmdWriteTimestamp(submission.commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, submission.queries,
                          index);
}

void Stream::measure(const Submission& submission) {
    if (submission.queries == VK_NULL_HANDLE || submission.work == 0) return;
    std::array<uint64_t, 2> ticks{};
    const VkResult status =
        context_.api().GetQueryPoolResults(context_.device(), submission.queries, 0, 2, sizeof ticks,
                                           ticks.data(), sizeof(uint64_t), VK_QUERY_RESULT_64_BIT);
    if (status == VK_SUCCESS) pace_.ran(submission.work, context_.seconds(ticks[0], ticks[1]));
}

Stream::Submission& Stream::takeIdle() {
    retire(false);
    if (idle_.empty()) retire(true);
    return *idle_.back();
}

Stream::Submission& Stream::open() {
    refuseIfFailed();
    if (current_ != nullptr) return *current_;
    if (recording_ != nullptr) {
        recorded_.commands = recording_->addCommands();
        recorded_.work = 0;
        current_ = &recorded_;
        return recorded_;
    }
    Submission& submission = takeIdle();
    auto begin = structure<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    must(context_.api().BeginCommandBuffer(submission.commands, &begin), "vkBeginCommandBuffer");
    idle_.pop_back();
    submission.serial = next_serial_++;
    submission.sets = 0;
    submission.operations = 0;
    submission.work = 0;
    submission.kept = operation_kept_;
    mark(submission, 0);
    for (const auto& buffer : operation_buffers_) buffer->setLastUse(submission.serial);
    current_ = &submission;
    return submission;
}

void Stream::barrier() {
    orderAfter(kWork, kWrites);
}

void Stream::orderAfter(VkPipelineStageFlags stages, VkAccessFlags writes) {
    auto memory = structure<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
    memory.srcAccessMask = writes;
    memory.dstAccessMask = kReads | kWrites;
    context_.api().CmdPipelineBarrier(open().commands, stages, kWork, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

void Stream::beginOperation() {
    operation_kept_.clear();
    operation_buffers_.clear();
    if (context_.borrowed())
        orderAfter(VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_ACCESS_MEMORY_WRITE_BIT);
    else
        barrier();
}

void Stream::endOperation() {
    operation_kept_.clear();
    operation_buffers_.clear();
    if (current_ == nullptr || recording_ != nullptr) return;
    ++current_->operations;
    retire(false);
    if (context_.borrowed() || pending_.empty() || current_->operations >= kOperationsPerSubmission) flush();
}

void Stream::use(VulkanBuffer& buffer) {
    if (recording_ != nullptr) {
        recording_->use(buffer);
        return;
    }
    auto shared = buffer.shared_from_this();
    buffer.setLastUse(open().serial);
    keep(shared);
    operation_buffers_.push_back(std::move(shared));
}

void Stream::keep(std::shared_ptr<const void> object) {
    if (recording_ != nullptr) {
        recording_->keep(std::move(object));
        return;
    }
    open().kept.push_back(object);
    operation_kept_.push_back(std::move(object));
}

VkDescriptorSet Stream::allocateSet(Submission& submission, VkDescriptorSetLayout layout) {
    if (recording_ != nullptr) return recording_->addSet(layout);
    auto info = structure<VkDescriptorSetAllocateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO);
    info.descriptorPool = submission.descriptors;
    info.descriptorSetCount = 1;
    info.pSetLayouts = &layout;
    VkDescriptorSet set = VK_NULL_HANDLE;
    must(context_.api().AllocateDescriptorSets(context_.device(), &info, &set), "vkAllocateDescriptorSets");
    ++submission.sets;
    return set;
}

void Stream::dispatch(const Pipeline& pipeline, const std::vector<Binding>& bindings, const void* push,
                      size_t push_bytes, const std::array<uint32_t, 3>& groups, uint64_t work) {
    const DeviceApi& api = context_.api();
    if (current_ != nullptr && ((recording_ == nullptr && current_->sets >= kSetsPerSubmission) ||
                                (current_->work > 0 && current_->work + work > pace_.cap())))
        flush();
    Submission& submission = open();
    submission.work += work;
    VkDescriptorSet set = allocateSet(submission, pipeline.set_layout);
    std::array<VkDescriptorBufferInfo, kMaxStorageBindings + 1> infos{};
    std::array<VkWriteDescriptorSet, kMaxStorageBindings + 1> writes{};
    for (uint32_t i = 0; i < bindings.size(); ++i) {
        infos[i] = {bindings[i].buffer->handle(), bindings[i].offset, bindings[i].range};
        writes[i] = structure<VkWriteDescriptorSet>(VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET);
        writes[i].dstSet = set;
        writes[i].dstBinding = i;
        writes[i].descriptorCount = 1;
        writes[i].descriptorType = i < pipeline.storage_bindings ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                                 : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER;
        writes[i].pBufferInfo = &infos[i];
    }
    api.UpdateDescriptorSets(context_.device(), static_cast<uint32_t>(bindings.size()), writes.data(), 0,
                             nullptr);
    api.CmdBindPipeline(submission.commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline);
    api.CmdBindDescriptorSets(submission.commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1,
                              &set, 0, nullptr);
    api.CmdPushConstants(submission.commands, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         static_cast<uint32_t>(push_bytes), push);
    api.CmdDispatch(submission.commands, groups[0], groups[1], groups[2]);
}

void Stream::copy(const VulkanBuffer& from, const VulkanBuffer& to,
                  const std::vector<VkBufferCopy>& regions) {
    context_.api().CmdCopyBuffer(open().commands, from.handle(), to.handle(),
                                 static_cast<uint32_t>(regions.size()), regions.data());
}

void Stream::fill(const VulkanBuffer& buffer, size_t bytes, uint32_t value, size_t offset) {
    context_.api().CmdFillBuffer(open().commands, buffer.handle(), buffer.base() + offset, bytes, value);
}

uint64_t Stream::timestamp(VkQueryPool queries, uint32_t index) {
    refuseInRecording("a timer's mark");
    const Submission& submission = open();
    const DeviceApi& api = context_.api();
    api.CmdResetQueryPool(submission.commands, queries, index, 1);
    api.CmdWriteTimestamp(submission.commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, queries, index);
    return submission.serial;
}

Stream::Staging Stream::stage(size_t bytes) {
    if (staging_ == nullptr)
        staging_ = std::make_shared<VulkanBuffer>(context_, allocator_, kStagingSize, MemoryKind::staging);
    const auto collides = [&](size_t begin, size_t end) {
        return std::any_of(staged_.begin(), staged_.end(),
                           [&](const StagedPiece& piece) { return begin < piece.end && piece.begin < end; });
    };
    // Pieces share no atom of memory that is not coherent.
    const auto atom = static_cast<size_t>(context_.capabilities().properties.limits.nonCoherentAtomSize);
    staging_head_ = (staging_head_ + atom - 1) / atom * atom;
    if (staging_head_ + bytes > kStagingSize) staging_head_ = 0;
    const size_t begin = staging_head_;
    while (collides(begin, begin + bytes)) wait(staged_.front().serial);
    const uint64_t serial = open().serial;
    staged_.push_back({begin, begin + bytes, serial});
    staging_head_ = begin + bytes;
    return {staging_, begin, static_cast<char*>(staging_->mapped()) + begin};
}

void Stream::flush() {
    refuseIfFailed();
    if (current_ == nullptr) return;
    const DeviceApi& api = context_.api();
    Submission& submission = *current_;
    current_ = nullptr;
    auto memory = structure<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
    memory.srcAccessMask = kWrites;
    memory.dstAccessMask = VK_ACCESS_HOST_READ_BIT | VK_ACCESS_HOST_WRITE_BIT;
    VkPipelineStageFlags readers = VK_PIPELINE_STAGE_HOST_BIT;
    if (context_.borrowed()) {
        memory.dstAccessMask |= VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
        readers |= VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    }
    api.CmdPipelineBarrier(submission.commands, kWork, readers, 0, 1, &memory, 0, nullptr, 0, nullptr);
    if (recording_ == nullptr) mark(submission, 1);
    const VkResult ended = api.EndCommandBuffer(submission.commands);
    if (recording_ != nullptr) {
        check(ended, "vkEndCommandBuffer");
        return;
    }
    must(ended, "vkEndCommandBuffer");
    submitAll({submission.commands}, submission.fence);
    pending_.push_back(&submission);
    ++submission_count_;
}

// One after another, as a driver's watchdog looks at each by itself.
void Stream::submitAll(const std::vector<VkCommandBuffer>& commands, VkFence fence) {
    for (const VkCommandBuffer& buffer : commands) {
        auto info = structure<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
        info.commandBufferCount = 1;
        info.pCommandBuffers = &buffer;
        const bool last = &buffer == &commands.back();
        const VkResult status =
            context_.api().QueueSubmit(context_.queue(), 1, &info, last ? fence : nullptr);
        if (status >= 0) continue;
        // No fence will tell when those before have run.
        if (&buffer != &commands.front()) context_.api().QueueWaitIdle(context_.queue());
        must(status, "vkQueueSubmit");
    }
}

void Stream::refuseInRecording(const char* what) const {
    if (recording_ != nullptr) fail(PCONV_ERROR_UNSUPPORTED, std::string(what) + " cannot be recorded");
}

void Stream::beginRecording() {
    refuseInRecording("a recording within another");
    flush();
    recording_ = std::make_shared<RecordedWork>(context_);
}

std::shared_ptr<RecordedWork> Stream::endRecording() {
    flush();
    return std::move(recording_);
}

void Stream::cancelRecording() noexcept {
    operation_kept_.clear();
    operation_buffers_.clear();
    current_ = nullptr;
    recording_.reset();
}

void Stream::submit(const std::shared_ptr<RecordedWork>& work) {
    refuseInRecording("a recording within another");
    flush();
    if (work->commands().empty()) return;
    Submission& submission = takeIdle();
    submission.kept = {work};
    submission.work = 0;
    submitAll(work->commands(), submission.fence);
    idle_.pop_back();
    submission.serial = next_serial_++;
    work->setLastUse(submission.serial);
    pending_.push_back(&submission);
    submission_count_ += work->commands().size();
}

bool Stream::completed(uint64_t serial) {
    refuseIfFailed();
    if (serial > completed_serial_) retire(false);
    return serial <= completed_serial_;
}

void Stream::wait(uint64_t serial) {
    refuseIfFailed();
    if (serial > completed_serial_ && current_ != nullptr && serial >= current_->serial) flush();
    while (serial > completed_serial_) retire(true);
}

void Stream::waitAll() {
    flush();
    while (!pending_.empty()) retire(true);
}

}  // namespace pconv::vulkan
