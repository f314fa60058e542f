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
    int mask_source = 0;        // the same where one mask was handed on
    bool zero_in_holes = false;
};

struct NetworkLayer {
    PconvLayerType type = PCONV_LAYER_TYPE_PARTIAL_CONV;
    int input = 0, second_input = 0;   // features: 0 is the network's input, i + 1 what layer i makes
    std::vector<int32_t> more_inputs;  // likewise
    std::vector<int64_t> factor, begin, output_padding;
    PconvInterpolation interpolation = PCONV_INTERPOLATION_NEAREST;
    bool ignores_mask = false;
    bool inside_only = false;
    bool constant = false;            // of SCALE: its vectors are in its description
    std::vector<float> scale, shift;  // of BATCH_NORM and SCALE
    Problem conv;                     // window, channels, settings, weight and bias, activation
};

// Whether it is given a weight and a bias.
bool hasWeights(const NetworkLayer& layer);

struct NetworkProblem {
    int64_t batch = 1;
    PconvMaskPolarity polarity = PCONV_MASK_VALID_IS_ONE;  // of the input's mask
    PconvDataType data_type = PCONV_DATA_TYPE_F32;
    PconvLayout layout = PCONV_LAYOUT_CONTIGUOUS;
    bool fast_math = false;
    Feature input;  // its mask in the polarity above
    std::vector<NetworkLayer> layers;

    int dims() const { return static_cast<int>(input.size.size()); }
};

// What every layer makes, the network's input first.
std::vector<Feature> solve(const NetworkProblem& problem);

// A network of a few random layers of every kind.
NetworkProblem randomNetwork(uint32_t seed);

}  // namespace pconv::test
