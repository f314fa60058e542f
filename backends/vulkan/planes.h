// The planes of a mask in the form the kernels read: bit planes with margins of zeros, or f32 planes; 1 is
// valid.
#pragma once

#include "vulkan/device/device.h"
#include "vulkan/split.h"
#include "vulkan/window.h"

namespace pconv::vulkan {

class VulkanPlanes {
  public:
    // No segments: nothing is packed.
    VulkanPlanes(VulkanDevice& device, const MaskForm& form, MaskType type, bool multi_channel,
                 const Dims3& size);
    // Within an operation: what the planes are kept in, and packing the caller's.
    void use();
    void pack(const std::vector<TensorRef>& planes);

    int64_t count() const { return planes_; }
    int32_t rowWords() const { return row_words_; }
    int64_t imageWords() const { return image_words_; }
    // What an image's planes lie after those of the one before; 0 where one image serves all.
    int64_t imageStride() const { return form_.batch > 1 ? image_words_ : 0; }
    int64_t planeOf(int64_t channel) const;  // of a multi-channel mask
    // The bytes of the planes that some channels have.
    Span span(const Range& images, const Range& channels, const Range& d, const Range& h) const;
    const std::shared_ptr<VulkanBuffer>& packed() const { return packed_; }  // null where there is no mask
    // Which runs of channels share a plane; null in single-channel mode.
    const std::shared_ptr<VulkanBuffer>& runs() const { return runs_; }

  private:
    void pack(const TensorRef& source, int64_t count, int64_t first_plane);
    void packRows(const TensorRef& source, int64_t count, int64_t first_plane, int64_t begin, int64_t end);

    VulkanDevice& device_;
    MaskForm form_;
    Dims3 size_;
    int32_t row_words_;
    int64_t planes_ = 0;
    int64_t image_words_ = 0;
    const Pipeline* pipeline_ = nullptr;
    std::shared_ptr<VulkanBuffer> packed_, runs_;
};

}  // namespace pconv::vulkan
