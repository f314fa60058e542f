// What the parts of a backward pass share: the convolution's sizes, the gradient of its sums, one call's
// tensors.
#pragma once

#include "vulkan/mask_update.h"
#include "vulkan/split.h"

namespace pconv::vulkan {

constexpr Range kOne{0, 1};
constexpr uint32_t kPlainLanes = 64;  // of kernels that add nothing up

struct BackwardCall {
    const VulkanMaskUpdate& update;
    const TensorRef& input;
    const TensorRef& grad_output;
    const Gradients& gradients;
    PlanLimits limits;
    bool rehearsal = false;  // only finds out whether everything binds
};

struct GradContext {
    GradContext(VulkanDevice& own_device, const PartialConvDesc& own_desc);

    int64_t groupIn() const { return desc.in_channels / desc.groups; }
    int64_t groupOut() const { return desc.out_channels / desc.groups; }
    int64_t taps() const { return volume(desc.window.kernel); }
    int64_t outputRows() const { return desc.window.output[0] * desc.window.output[1]; }
    // Blocks of channels that begin anew in each group of so many.
    static Range blocksOf(const Range& channels, int64_t of_group, int64_t block_channels);
    // Inputs that the windows of outputs reach, and outputs whose windows reach inputs; never empty.
    Range inputsOf(const Range& outputs, size_t d) const;
    Range outputsOf(const Range& inputs, size_t d) const;
    Span sumSpan(const Range& n, const Range& rows, const Range& channels) const;

    // The most channels of a register tile.
    int64_t tileChannels() const { return device.capabilities().few_registers ? 4 : 8; }
    // Invocations of a workgroup, for kernels to which its width is all one.
    uint32_t lanes() const;
    // With the constants of the mask and those given.
    const Pipeline& maskedPipeline(const char* shader, Specialization constants) const;
    const Pipeline& pipeline(const char* shader, const Specialization& constants) const;
    std::shared_ptr<VulkanBuffer> floats(int64_t count) const;

    // What a kernel that reads the mask binds; `unread` where it reads none.
    Binding bindMask(const BackwardCall& call, const Span& bytes, const Binding& unread, int32_t& base) const;
    Binding bindRuns(const BackwardCall& call, const Binding& unread) const;

    VulkanDevice& device;
    PartialConvDesc desc;
    bool reads_mask;
    std::shared_ptr<VulkanBuffer> params;  // GradientParams of shaders/gradient.glsl
    std::shared_ptr<VulkanBuffer> sums;    // the gradient of the convolution's sums, [N, D, H, W, C]
};

inline VulkanBuffer& memoryOf(const TensorRef& tensor) {
    return static_cast<VulkanBuffer&>(*tensor.buffer);
}

inline int32_t narrow(int64_t value) {
    return static_cast<int32_t>(value);
}

template <typename Push>
void storeStrides(const TensorRef& tensor, Push& push) {
    for (size_t i = 0; i < 5; ++i) push.strides[i] = narrow(tensor.strides[i]);
}

// As splitPiece, but in a rehearsal nothing is emitted.
void splitCall(const BackwardCall& call, const Piece& whole, const std::function<Fit(const Piece&)>& fit,
               const std::function<void(const Piece&)>& emit);

}  // namespace pconv::vulkan
