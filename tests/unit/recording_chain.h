// A mask update, a convolution, the update of its mask, a second convolution and an upsampling, beneath the
// seam, for tests that record them.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "backend.h"

namespace pconv::test {

// What a device asks of the core.
class OpenHost final : public Host {
  public:
    void allocated(size_t bytes) override { used += bytes; }
    void released(size_t bytes) noexcept override { used -= bytes; }
    int verbosity() const override { return 0; }
    void message(const std::string& /*line*/) const override {}
    int threads() const override { return 0; }

    size_t used = 0;
};

std::vector<float> randomFloats(size_t count, unsigned seed);

class Chain {
  public:
    // On a row that supports both convolutions.
    Chain(Device& device, const Implementation& row, unsigned seed);
    Chain(const Chain&) = delete;
    Chain& operator=(const Chain&) = delete;

    // [2, 8, 12, 10] to 12 channels, and these to 8 at half the size.
    static PartialConvDesc firstDesc();
    static PartialConvDesc secondDesc();

    void writeInput(unsigned seed);
    void enqueue();
    // Another convolution of other strides, which has the first one plan and allocate anew.
    void enqueueTurned();
    void poisonResults();
    // The bytes of all results: upsampled values, ratio and updated mask of the second window.
    std::vector<uint8_t> results();

    // What the results lie in stays with whoever asks, also after the chain.
    TensorRef upsampled() const { return upsampled_; }

  private:
    struct Masked {
        PartialConvDesc desc;
        MaskPlanes results;
        std::unique_ptr<MaskUpdate> update;
        std::unique_ptr<PartialConv> conv;
        TensorRef weight, bias;
    };
    TensorRef allocate(DataType type, const std::array<int64_t, 5>& dims);
    void makeStep(Masked& step, const Implementation& row, const PartialConvDesc& desc, unsigned seed);

    Device& device_;
    TensorRef plane_, input_, middle_, turned_, half_, upsampled_;
    Masked first_, second_;
};

}  // namespace pconv::test
