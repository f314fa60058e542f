// The gradient of the weights, from that of the convolution's sums: what its kernels share on the host.
#pragma once

#include "vulkan/gradients/context.h"

namespace pconv::vulkan {

// An algorithm's choices for one descriptor.
struct GradWeightKernel {
    const char* shader;  // without the data type
    Specialization constants;
    int64_t block_channels;  // output channels of a workgroup
    int64_t pairs;           // of input channel and tap, of a workgroup
    int64_t parts;           // into which the outputs are cut, each a workgroup's
};

// Register tiles, without shared memory.
GradWeightKernel gradWeightDirect(const GradContext& context);
// A matrix product through shared memory.
GradWeightKernel gradWeightGemm(const GradContext& context);
// Whether the product's tiles are filled well enough.
bool suitsGradWeightGemm(const GradContext& context);

class VulkanGradWeight {
  public:
    VulkanGradWeight(const GradContext& context, GradWeightKernel kernel);
    // Enqueues, within an operation.
    void run(const BackwardCall& call);
    // For each output channel its parts, each [input channels of the group, taps], f32; their sum is the
    // gradient.
    const std::shared_ptr<VulkanBuffer>& sums() const { return sums_; }
    int64_t parts() const { return kernel_.parts; }
    int64_t ofChannel() const { return context_.groupIn() * context_.taps(); }

  private:
    Range blocks(const Range& channels) const {
        return GradContext::blocksOf(channels, context_.groupOut(), kernel_.block_channels);
    }
    // Of the input, that the windows of a piece's outputs reach.
    struct Reach {
        Range channels, d, h;
    };
    Reach reach(const Piece& piece) const;
    Span resultSpan(const Piece& piece) const;

    const GradContext& context_;
    GradWeightKernel kernel_;
    const Pipeline& pipeline_;
    std::shared_ptr<VulkanBuffer> sums_;
};

}  // namespace pconv::vulkan
