// The convolution to few output channels, which oneDNN pads to whole vectors of 8 or 16: vectors lie along a
// row instead, and an input is read once for all output channels. Each thread does a box of outputs at a time
// in cache: some input channels are copied in under the mask, their products added to the sums.
#pragma once

#include "cpu/onednn/boxes.h"

namespace pconv::cpu {

// Whether it can be done at all and is expected to be faster than oneDNN's: short rows are not, nor windows
// whose taps lie so far apart that several times what is read would be copied in.
bool directPays(const PartialConvDesc& desc, int threads);

// What a thread does at a time.
struct DirectBox {
    int64_t channels;       // of the input
    int64_t rows, columns;  // of the outputs
    int64_t input;          // values under it, at most
};

class DirectConv final : public PartialConv {
  public:
    DirectConv(CpuDevice& device, const PartialConvDesc& desc);

    void setWeights(const TensorRef& weight, const TensorRef* bias) override;
    void forward(const MaskUpdate& update, const TensorRef& input, const TensorRef& output) override;

  private:
    struct Worker {
        int number;
        float *input, *sums;
        std::vector<const void*> planes;
        std::vector<DirectTap> taps;
    };

    int64_t boxes() const;
    Box boxAt(int64_t index) const;
    void runBand(Worker& worker, const ForwardCall& call, const Box& band) const;
    void runBox(Worker& worker, const ForwardCall& call, const Box& box) const;
    void addChannels(Worker& worker, const Box& box, int64_t first, int64_t channels) const;
    int64_t kernelVolume() const { return volume(desc_.window.kernel); }

    CpuDevice& device_;
    PartialConvDesc desc_;
    DirectBox box_;
    std::shared_ptr<Buffer> weights_;  // [input channel][tap][output channel]
    std::vector<float> bias_;
    Staging staging_;
    std::vector<Worker> workers_;
    size_t input_bytes_ = 0, sums_bytes_ = 0;
    Scratch scratch_;
};

}  // namespace pconv::cpu
