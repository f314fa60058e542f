// The convolution's matrix products: their depth is cut where workgroups are few, a tile takes columns of
// several images, and cooperative matrices are used where a device has them.
#include "vulkan_fixture.h"

#include <cmath>

#include "vulkan/partial_conv.h"

namespace pconv::vulkan {

namespace {

class VulkanProduct : public VulkanTest {
  protected:
    void expectLikeDirect(VulkanDevice& device, const Implementation& row, const PartialConvDesc& desc) {
        const std::vector<float> expected = runConvolution(device, vulkanDirect(), desc, 7);
        const std::vector<float> made = runConvolution(device, row, desc, 7);
        ASSERT_EQ(made.size(), expected.size());
        for (size_t i = 0; i < made.size(); ++i)
            ASSERT_NEAR(made[i], expected[i], 1e-4F * (1 + std::abs(expected[i]))) << i;
        EXPECT_EQ(runConvolution(device, row, desc, 7), made) << "two runs differ";
    }
};

KernelChoice choiceOf(const VulkanDevice& device, const PartialConvDesc& desc, uint32_t channels,
                      uint32_t columns) {
    KernelChoice choice;
    planProduct(device, desc, {channels, columns, 16, 4}, choice);
    return choice;
}

TEST_F(VulkanProduct, DepthIsCutWhereWorkgroupsAreFew) {
    const auto device = open();
    const PartialConvDesc few = squareDesc(1, 64, 64, 8);
    const KernelChoice cut = choiceOf(*device, few, 64, 64);
    EXPECT_GT(cut.plan.parts, 1);
    EXPECT_EQ(cut.part_depth % 16, 0);
    EXPECT_GE(cut.plan.parts * cut.part_depth, 64 * 9);
    EXPECT_LT((cut.plan.parts - 1) * cut.part_depth, 64 * 9) << "a part has nothing to do";
    EXPECT_EQ(choiceOf(*device, squareDesc(1, 64, 64, 256), 64, 64).plan.parts, 1);
    EXPECT_EQ(choiceOf(*device, squareDesc(1, 1, 64, 8), 64, 64).plan.parts, 1) << "depth of 9";
}

TEST_F(VulkanProduct, PartsAddUpToTheSameSums) {
    const auto device = open();
    expectLikeDirect(*device, vulkanGemm(), squareDesc(1, 48, 40, 7));
}

TEST_F(VulkanProduct, ATileHasColumnsOfSeveralImages) {
    const auto device = open();
    expectLikeDirect(*device, vulkanGemm(), squareDesc(5, 6, 20, 3));
}

TEST_F(VulkanProduct, CooperativeMatricesAreDeclinedWithTheReason) {
    const auto device = open();
    PartialConvDesc desc = squareDesc(1, 32, 32, 8);
    std::string reason;
    EXPECT_FALSE(vulkanCoopmat().supports(*device, desc, reason)) << "f32";
    EXPECT_NE(reason, "");
    desc.data_type = DataType::f16;
    reason.clear();
    const CooperativeMatrix& matrix = device->capabilities().matrices;
    if (!matrix && device->capabilities().storage_f16) {
        EXPECT_FALSE(vulkanCoopmat().supports(*device, desc, reason));
        EXPECT_EQ(reason, matrix.missing);
        GTEST_SKIP() << matrix.missing;
    }
    EXPECT_EQ(vulkanCoopmat().supports(*device, desc, reason), device->capabilities().storage_f16) << reason;
    desc.data_type = DataType::bf16;
    EXPECT_FALSE(vulkanCoopmat().supports(*device, desc, reason)) << "bf16";
}

}  // namespace

}  // namespace pconv::vulkan
