// Opens a Vulkan device beneath the seam, and runs convolutions on it.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "vulkan_device.h"

namespace pconv::vulkan {

// A variable of the environment for the time of a test.
class Variable {
  public:
    Variable(std::string name, const std::string& value) : name_(std::move(name)) {
        const char* before = std::getenv(name_.c_str());
        had_ = before != nullptr;
        if (had_) before_ = before;
        setenv(name_.c_str(), value.c_str(), 1);
    }
    Variable(const Variable&) = delete;
    Variable& operator=(const Variable&) = delete;
    ~Variable() {
        if (had_)
            setenv(name_.c_str(), before_.c_str(), 1);
        else
            unsetenv(name_.c_str());
    }

  private:
    std::string name_, before_;
    bool had_ = false;
};

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
