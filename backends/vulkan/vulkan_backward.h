// The backward pass of both rows: the gradient of the convolution's sums once, then each gradient from it.
// Every sum is made in a fixed order: two runs are bit-equal.
#pragma once

#include "vulkan_mask_update.h"
#include "vulkan_split.h"

namespace pconv::vulkan {

class VulkanBackward {
  public:
    VulkanBackward(VulkanDevice& device, const PartialConvDesc& desc);
    // Enqueues, within an operation.
    void setWeights(const TensorRef& weight);
    void run(const VulkanMaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
             const Gradients& gradients);

  private:
    struct Call;
    void makeAll(const Call& call);
    void gradInput(const Call& call);
    void gradWeight(const Call& call);
    void give(const VulkanBuffer& sums, int64_t count, const TensorRef& gradient, bool accumulate);
    void overOutputs(const Call& call, const Pipeline& pipeline, bool sum_up);

    int64_t groupIn() const { return desc_.in_channels / desc_.groups; }
    int64_t groupOut() const { return desc_.out_channels / desc_.groups; }
    int64_t taps() const { return volume(desc_.window.kernel); }
    int64_t outputRows() const { return desc_.window.output[0] * desc_.window.output[1]; }
    Span gradSumSpan(const Range& n, const Range& rows, const Range& channels) const;

    VulkanDevice& device_;
    PartialConvDesc desc_;
    bool reads_mask_;
    uint32_t lanes_;
    int64_t in_block_, out_block_;            // channels of a block
    int64_t in_blocks_, out_blocks_;          // of a group
    int64_t block_stride_ = 0;                // floats of a block of turned weights
    int64_t phases_ = 1, units_a_phase_ = 1;  // of a row of inputs
    const Pipeline* turn_ = nullptr;
    const Pipeline* grad_sum_ = nullptr;
    const Pipeline* grad_bias_ = nullptr;
    const Pipeline* grad_input_ = nullptr;
    const Pipeline* grad_weight_ = nullptr;
    const Pipeline* give_ = nullptr;
    std::shared_ptr<VulkanBuffer> params_, turned_, sums_, weight_sums_, bias_sums_;
};

}  // namespace pconv::vulkan
