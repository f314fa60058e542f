// A network in plain numbers: layer by layer through the convolutions' oracle.
#pragma once

#include <vector>

#include "conformance/problem.h"
#include "pconv/network.h"

namespace pconv::test {

// An array [N, C, S...] with its mask.
struct Feature {
    int64_t channels = 1;
    std::vector<int64_t> size;
    std::vector<float> values;
    PconvMaskType mask_type = PCONV_MASK_TYPE_NONE;
    int64_t mask_batch = 1;
    std::vector<Segment> mask;  // none where all is valid; of ones where the channels' masks are given
};

struct NetworkLayer {
    PconvLayerType type = PCONV_LAYER_TYPE_PARTIAL_CONV;
    int input = 0, second_input = 0;  // features: 0 is the network's input, i + 1 what layer i makes
    std::vector<int64_t> factor;
    bool ignores_mask = false;
    Problem conv;  // window, channels, settings, weight and bias
};

struct NetworkProblem {
    int64_t batch = 1;
    PconvMaskPolarity polarity = PCONV_MASK_VALID_IS_ONE;  // of the input's mask
    PconvDataType data_type = PCONV_DATA_TYPE_F32;
    PconvLayout layout = PCONV_LAYOUT_CONTIGUOUS;
    Feature input;  // its mask in the polarity above
    std::vector<NetworkLayer> layers;

    int dims() const { return static_cast<int>(input.size.size()); }
};

// What every layer makes, the network's input first.
std::vector<Feature> solve(const NetworkProblem& problem);

// A network of a few random layers of every kind.
NetworkProblem randomNetwork(uint32_t seed);

}  // namespace pconv::test
