// What all layers share that are a convolution in other clothes.
#pragma once

#include "network/layer_kind.h"

namespace pconv::network {

// Makes layer.conv with its mask update.
void makeConvolution(PconvDevice device, Prepared& prepared, size_t index);
std::vector<int64_t> weightShape(const PconvPartialConvDesc& conv);
// The batch normalization behind it, which is folded into its weights.
void readBatchNormName(Layer& layer, const PconvLayer& caller, const PconvPartialConvDesc& conv);
double checkedNormEps(const PconvLayer& caller);

// A layer that is layer.conv.
class ConvolutionLayer : public LayerKind {
  public:
    void make(PconvDevice device, Prepared& prepared, size_t index) const override;
    void enqueueMasks(Calls& calls, size_t index) const override;
    void enqueue(Calls& calls, size_t index) const override;
    bool hasWeights(const Layer& /*layer*/) const override { return true; }
    LayerWeights readWeights(WeightFile& file, const Layer& layer) const override;
    bool setWeights(Prepared& prepared, size_t index, const PconvTensor* weight,
                    const PconvTensor* bias) const override;
};

}  // namespace pconv::network
