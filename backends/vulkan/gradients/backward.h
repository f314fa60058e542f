// The backward pass of both rows: the gradient of the convolution's sums once, then each gradient from it.
// Every sum is made in a fixed order: two runs are bit-equal.
#pragma once

#include "vulkan/gradients/input.h"
#include "vulkan/gradients/weight.h"

namespace pconv::vulkan {

class VulkanBackward {
  public:
    // By matrix products where they are wanted and suit the shape.
    VulkanBackward(VulkanDevice& device, const PartialConvDesc& desc, bool by_products);
    // Enqueues, within an operation.
    void setWeights(const TensorRef& weight) { grad_input_.setWeights(weight); }
    void run(const VulkanMaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
             const Gradients& gradients);

  private:
    void makeAll(const BackwardCall& call);
    void overOutputs(const BackwardCall& call, const Pipeline& pipeline, bool sum_up);
    void give(const VulkanBuffer& sums, int64_t rows, int64_t parts, int64_t length,
              const TensorRef& gradient, bool accumulate);

    VulkanDevice& device_;
    GradContext context_;
    VulkanGradInput grad_input_;
    VulkanGradWeight grad_weight_;
    const Pipeline& grad_sum_;
    const Pipeline& grad_bias_;
    const Pipeline& give_;
    int64_t bias_parts_;  // into which a channel's outputs are cut, each a workgroup's
    std::shared_ptr<VulkanBuffer> bias_sums_;
};

}  // namespace pconv::vulkan
