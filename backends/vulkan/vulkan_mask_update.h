// The mask side: packed planes, window sums, updated mask and ratio, and which tiles of outputs have anything
// valid.
#pragma once

#include "vulkan_device.h"
#include "vulkan_window.h"

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
    int64_t planes() const { return planes_; }
    int64_t planeOf(int64_t channel) const;                                  // of a multi-channel mask
    int64_t imageWords() const { return image_words_; }                      // of the packed planes
    const std::shared_ptr<VulkanBuffer>& packed() const { return packed_; }  // null where there is no mask
    const std::shared_ptr<VulkanBuffer>& runs() const { return runs_; }      // null in single-channel mode
    const std::shared_ptr<VulkanBuffer>& tiles() const { return tiles_; }

  private:
    void makeTables();
    void pack(const TensorRef& source, int64_t count, int64_t first_plane);
    void packRows(const TensorRef& source, int64_t count, int64_t first_plane, int64_t begin, int64_t end);
    struct WordRange {
        int64_t begin, end;
    };
    WordRange wordsBehind(int64_t begin, int64_t end) const;
    void windows(int64_t begin, int64_t end);
    void channelMasks();
    int64_t imageOutputs() const { return desc_.maskGroups() * volume(desc_.window.output); }

    VulkanDevice& device_;
    PartialConvDesc desc_;
    MaskForm form_;
    MaskPlanes results_;
    WindowParams window_;
    int64_t planes_ = 0;
    int64_t image_words_ = 0;
    const Pipeline* pack_pipeline_ = nullptr;
    const Pipeline* window_pipeline_ = nullptr;
    const Pipeline* magnitude_pipeline_ = nullptr;
    std::shared_ptr<VulkanBuffer> packed_, counts_, runs_, tiles_, params_;
    std::shared_ptr<VulkanBuffer> magnitude_;  // [output channels, channels of a group], f32
};

}  // namespace pconv::vulkan
