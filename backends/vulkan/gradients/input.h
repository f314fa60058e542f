// The gradient of the input, from that of the convolution's sums: what its kernels share on the host.
#pragma once

#include "vulkan/gradients/context.h"

namespace pconv::vulkan {

// An algorithm's choices for one descriptor.
struct GradInputKernel {
    const char* shader;  // without the data type
    Specialization constants;
    int64_t block_channels;  // input channels of a workgroup
    int64_t columns;         // inputs of a workgroup
    // Workgroups that make some rows of D * H, of one image and block.
    std::function<int64_t(const Range& rows)> workgroups;
};

// Register tiles, without shared memory.
GradInputKernel gradInputDirect(const GradContext& context);
// A matrix product through shared memory.
GradInputKernel gradInputGemm(const GradContext& context);
// Whether the product's tiles are filled well enough, and its blocks of weights bind.
bool suitsGradInputGemm(const GradContext& context);

// Floats of a block of turned weights; bindings start at blocks, so these keep any alignment.
inline int64_t turnedBlock(const GradContext& context, int64_t block_channels) {
    return ceilDiv<int64_t>(context.taps() * context.groupOut() * block_channels, 64) * 64;
}

class VulkanGradInput {
  public:
    VulkanGradInput(const GradContext& context, GradInputKernel kernel);
    // Enqueue, within an operation.
    void setWeights(const TensorRef& weight);
    void run(const BackwardCall& call);
    const std::shared_ptr<VulkanBuffer>& turned() const { return turned_; }

  private:
    Range blocks(const Range& channels) const {
        return GradContext::blocksOf(channels, context_.groupIn(), kernel_.block_channels);
    }
    Span turnedSpan(const Range& blocks) const {
        return {blocks.begin * block_stride_ * 4, blocks.end * block_stride_ * 4};
    }
    Span sumSpan(const Piece& piece) const;

    const GradContext& context_;
    GradInputKernel kernel_;
    int64_t blocks_a_group_;
    int64_t block_stride_;  // floats of a block of turned weights
    const Pipeline& pipeline_;
    const Pipeline& turn_;
    std::shared_ptr<VulkanBuffer> turned_;
};

}  // namespace pconv::vulkan
