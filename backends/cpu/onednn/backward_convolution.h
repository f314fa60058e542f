// oneDNN's gradients of a plain convolution, for oneDNN 2 and 3.
#pragma once

#include "cpu/onednn/convolution.h"

namespace pconv::cpu {

struct BackwardData {
    dnnl::convolution_backward_data::primitive_desc desc;
    ScratchLayout input, output;
    Kernel kernel;
};

struct BackwardWeights {
    dnnl::convolution_backward_weights::primitive_desc desc;
    ScratchLayout input, output;
    Kernel kernel;
};

std::optional<BackwardData> chooseBackwardData(const dnnl::engine& engine, const PlainConv& conv);
// In these layouts.
std::optional<BackwardData> chooseBackwardData(const dnnl::engine& engine, const PlainConv& conv,
                                               ScratchLayout input, ScratchLayout output);
// In the layout of the output that is asked for, unless another is served better.
std::optional<BackwardWeights> chooseBackwardWeights(const dnnl::engine& engine, const PlainConv& conv,
                                                     ScratchLayout output);

}  // namespace pconv::cpu
