// A linear layer over all elements of an image: a convolution whose window is the whole of it.
#include <algorithm>

#include "core/checked.h"
#include "network/layers/convolution.h"

namespace pconv::network {

namespace {

class LinearLayer final : public ConvolutionLayer {
  public:
    Value plan(Planner& planner, Layer& layer, const PconvLayer& caller, size_t index) const override {
        const Value input = planner.inputOf(layer);
        PconvPartialConvDesc conv = planner.describeConv(caller, input.channels, input.size);
        expectEvenZeros(conv, conv.spatial_dims);
        conv.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
        conv.groups = 1;
        for (int i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i) {
            conv.kernel[i] = i < conv.spatial_dims ? conv.input_size[i] : 1;
            conv.stride[i] = conv.dilation[i] = 1;
            conv.padding[i] = conv.padding_end[i] = 0;
        }
        Value value = planner.convolve(layer, conv, {}, false, index);
        readBatchNormName(layer, caller, conv);
        return value;
    }

    LayerWeights readWeights(WeightFile& file, const Layer& layer) const override {
        return readConvolution(file, layer, matrix(layer.conv));
    }

    bool setWeights(Prepared& prepared, size_t index, const PconvTensor* weight,
                    const PconvTensor* bias) const override {
        const PconvPartialConvDesc& conv = prepared.plan.layers[index].conv;
        PconvTensor window = notNull(weight, "weight");
        const std::vector<int64_t> shape = matrix(conv);
        const bool dense =
            (window.strides[0] == 0 && window.strides[1] == 0) ||
            ((shape[1] == 1 || window.strides[1] == 1) && (shape[0] == 1 || window.strides[0] == shape[1]));
        if (window.rank != 2 || window.dims[0] != shape[0] || window.dims[1] != shape[1] || !dense)
            invalid("weight is not a contiguous [" + std::to_string(shape[0]) + ", " +
                    std::to_string(shape[1]) + "]");
        const std::vector<int64_t> dims = weightShape(conv);
        window.rank = static_cast<int32_t>(dims.size());
        std::copy(dims.begin(), dims.end(), window.dims);
        std::fill_n(window.strides, PCONV_MAX_DIMS, 0);
        return ConvolutionLayer::setWeights(prepared, index, &window, bias);
    }

  private:
    static std::vector<int64_t> matrix(const PconvPartialConvDesc& conv) {
        int64_t in = conv.in_channels;
        for (int i = 0; i < conv.spatial_dims; ++i) in *= conv.kernel[i];
        return {conv.out_channels, in};
    }
};

}  // namespace

const LayerKind& linearLayer() {
    static const LinearLayer kind;
    return kind;
}

}  // namespace pconv::network
