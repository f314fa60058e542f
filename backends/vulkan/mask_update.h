// The mask side: packed planes, window sums, updated mask and ratio, and which tiles of outputs have anything
// valid.
#pragma once

#include "vulkan/planes.h"

namespace pconv::vulkan {

class VulkanMaskUpdate final : public MaskUpdate {
  public:
    VulkanMaskUpdate(VulkanDevice& device, const PartialConvDesc& desc, MaskForm form,
                     const MaskPlanes& results);
    void compute(const std::vector<TensorRef>& planes) override;
    void setWeights(const TensorRef& weight) override;

    // What the convolutions read of it.
    const MaskForm& form() const { return form_; }
    const MaskPlanes& results() const { return results_; }
    const VulkanPlanes& planes() const { return planes_; }
    const std::shared_ptr<VulkanBuffer>& tiles() const { return tiles_; }

  private:
    void makeCounts();
    bool writesWholeRows() const;
    Span wordsBehind(const Range& images, const Range& depth, const Range& rows) const;
    Piece outputsOf(const Piece& tiles) const;
    void windows();
    void channelMasks();
    int64_t imageOutputs() const { return desc_.maskGroups() * volume(desc_.window.output); }

    VulkanDevice& device_;
    PartialConvDesc desc_;
    MaskForm form_;
    MaskPlanes results_;
    WindowParams window_;
    VulkanPlanes planes_;
    const Pipeline* window_pipeline_ = nullptr;
    const Pipeline* magnitude_pipeline_ = nullptr;
    std::shared_ptr<VulkanBuffer> counts_, tiles_, params_;
    std::shared_ptr<VulkanBuffer> magnitude_;  // [output channels, channels of a group], f32
};

}  // namespace pconv::vulkan
