// The convolution: what vulkan:direct, vulkan:gemm and vulkan:coopmat share on the host. They differ in
// shader and tiling.
#pragma once

#include "vulkan/gradients/backward.h"
#include "vulkan/mask_update.h"
#include "vulkan/plan.h"

namespace pconv::vulkan {

// A row's choices for one descriptor.
struct KernelChoice {
    std::string shader;       // without the data type
    int64_t half_slices = 0;  // where weights are packed as f16: the depth of a slice of them
    Specialization constants;
    PlanKernel plan;
    int64_t part_depth = 0;             // of the plan's parts, where they are more than one
    bool backward_by_products = false;  // the gradients by matrix products, where those suit
};

// A workgroup's tile of a matrix product, in steps of depth; and the bytes of a packed weight.
struct ProductTile {
    uint32_t channels, columns, depth;
    int64_t weight_bytes;
};

// Fills in what matrix products have in common: the tile's constants, the plan, whose depth is cut into parts
// where the tiles are fewer workgroups than keep the device busy, and the backward pass.
void planProduct(const VulkanDevice& device, const PartialConvDesc& desc, const ProductTile& tile,
                 KernelChoice& choice);
// Why a device has no matrix products, their backward pass included; "" where nothing stands in the way.
std::string productObjection(const VulkanDevice& device);
// The most output channels of a block, `most` or a fraction of it down to `least`, with which a product's
// workgroups are enough, its depth cut where that helps.
uint32_t productBlock(const VulkanDevice& device, const PartialConvDesc& desc, int64_t columns, uint32_t most,
                      uint32_t least);

class VulkanPartialConv final : public PartialConv {
  public:
    VulkanPartialConv(VulkanDevice& device, const PartialConvDesc& desc, KernelChoice choice);
    void setWeights(const TensorRef& weight, const TensorRef* bias) override;
    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override;
    void backward(const MaskUpdate& update, const TensorRef& input, const TensorRef& grad_output,
                  const Gradients& gradients) override;

  private:
    void makePlan(const VulkanMaskUpdate& update, const TensorRef& input, const TensorRef& output);
    void makeParams();
    void copyDetour(const Detour& detour, const TensorRef& tensor, const VulkanBuffer& scratch,
                    bool to_scratch);
    void dispatch(const Chunk& chunk, const VulkanMaskUpdate& update, const TensorRef& input,
                  const TensorRef& output);

    VulkanDevice& device_;
    PartialConvDesc desc_;
    KernelChoice choice_;
    bool reads_mask_;
    const Pipeline* conv_ = nullptr;
    const Pipeline* pack_ = nullptr;
    const Pipeline* join_ = nullptr;  // where depth is cut
    std::shared_ptr<VulkanBuffer> weights_, params_, sums_, input_scratch_, output_scratch_;

    std::unique_ptr<VulkanBackward> backward_;  // where training is asked for

    // The plan of the last shapes and strides seen, usually the only ones.
    struct PlanKey {
        std::array<int64_t, 5> input{}, output{};
        int64_t batch = -1, planes = -1;
        bool operator==(const PlanKey& other) const {
            return input == other.input && output == other.output && batch == other.batch &&
                   planes == other.planes;
        }
    };
    PlanKey planned_;
    Plan plan_;
    std::vector<VkBufferCopy> regions_;
};

// What the rows share: all but their kernels.
class VulkanRow : public Implementation {
  public:
    using Implementation::Implementation;
    bool trains() const override { return true; }
    bool masksConvolutions() const override { return true; }
    bool supports(const Device& device, const PartialConvDesc& desc, std::string& reason) const override;
    std::unique_ptr<MaskUpdate> makeMaskUpdate(Device& device, const PartialConvDesc& desc,
                                               const MaskForm& form,
                                               const MaskPlanes& results) const override;
    std::unique_ptr<PartialConv> makePartialConv(Device& device, const PartialConvDesc& desc) const override;

  protected:
    // Output channels of a block, where a group has so many.
    virtual uint32_t blockChannels(const VulkanDevice& device, const PartialConvDesc& desc) const = 0;
    virtual KernelChoice choose(const VulkanDevice& device, const PartialConvDesc& desc) const = 0;
    // Why the row does not take what its device can do; "" where nothing stands in the way.
    virtual std::string objection(const VulkanDevice& /*device*/, const PartialConvDesc& /*desc*/) const {
        return "";
    }
};

}  // namespace pconv::vulkan
