// The layers of networks that are no partial convolution, in double.
#pragma once

#include "network/network_oracle.h"

namespace pconv::test {

// [N * C, S...] of the feature at another size.
std::vector<float> interpolated(const Feature& input, const std::vector<int64_t>& size,
                                PconvInterpolation kind);
Feature transposed(const Feature& input, const NetworkLayer& layer, int64_t batch);
// `one_mask`: the inputs have the same one.
Feature added(const std::vector<const Feature*>& inputs, const NetworkLayer& layer, bool one_mask);
// What is masked is 0 already, or the mask is ignored.
Feature pooled(const Feature& input, const NetworkLayer& layer);
Feature scaled(const Feature& input, const NetworkLayer& layer, int64_t batch);
Feature cropped(const Feature& input, const NetworkLayer& layer, const std::vector<int64_t>& size);
Feature rounded(Feature feature, PconvDataType type);

}  // namespace pconv::test
