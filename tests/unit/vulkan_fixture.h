// Opens a Vulkan device beneath the seam, and runs convolutions on it.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "support/environment.h"
#include "vulkan/device/device.h"

namespace pconv::vulkan {

class CountingHost final : public Host {
  public:
    void allocated(size_t bytes) override {
        if (used + bytes > limit) fail(PCONV_ERROR_OUT_OF_MEMORY, "beyond the test's limit");
        used += bytes;
    }
    void released(size_t bytes) noexcept override { used -= bytes; }
    int verbosity() const override { return 0; }
    void message(const std::string& /*line*/) const override {}
    int threads() const override { return 0; }

    size_t used = 0;
    size_t limit = SIZE_MAX;
};

class VulkanTest : public ::testing::Test {
  protected:
    void SetUp() override;
    std::unique_ptr<VulkanDevice> open();

    CountingHost host_;
};

std::vector<float> randomValues(size_t count, unsigned seed);

// A contiguous tensor of these values.
TensorRef makeTensor(VulkanDevice& device, const std::vector<float>& values,
                     const std::array<int64_t, 5>& dims);
std::vector<float> readTensor(VulkanDevice& device, const TensorRef& tensor, size_t count);

// Makes the mask update and the convolution of `desc` on the row, with a mask of one plane and data from
// `seed`, and returns the output.
std::vector<float> runConvolution(VulkanDevice& device, const Implementation& row,
                                  const PartialConvDesc& desc, unsigned seed);

// [batch, in, size, size] to `out` channels, kernel 3, padding 1.
PartialConvDesc squareDesc(int64_t batch, int64_t in, int64_t out, int64_t size);

}  // namespace pconv::vulkan
