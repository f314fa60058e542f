// How the backward pass is cut into parts of the output, done one after another in the scratch memory of one:
// whole images, or ranges of one spatial dimension. What a part and the next one both add to the input's
// gradient is kept between them.
#pragma once

#include "cpu/onednn/backward_convolution.h"

namespace pconv::cpu {

// Parts of equal form share their primitives.
struct BackwardForm {
    Box box;
    BackwardData data;
    BackwardWeights weights;
};

struct BackwardPart {
    Box box;
    size_t form;
    int64_t shared;  // inputs at the end of the cut dimension, in which the next part begins
};

// Bytes of scratch memory.
struct BackwardSizes {
    size_t input, output;  // masked or its gradient; the gradient of the convolution's result
    size_t shared;
    size_t factors;
    size_t grad_weights, plain_grad_weights;
    size_t scratchpad;
    size_t packed_weights;  // of one separate group
};

struct BackwardPlan {
    int64_t separate_groups = 1;
    size_t cut = 0;  // the dimension
    std::vector<BackwardForm> forms;
    std::vector<BackwardPart> parts;
    BackwardSizes sizes{};

    size_t bytes() const;
};

size_t alignedSize(size_t bytes);
// Elements of a tensor in the layout, channels padded to whole blocks.
int64_t scratchSize(ScratchLayout layout, int64_t channels, int64_t pixels);
PlainConv plainConvOf(const PartialConvDesc& desc, int64_t separate_groups, const Box& box);
// How many parts of the sums of the bias's gradient there are: they lie where the input will.
int64_t biasParts(const PartialConvDesc& desc, int threads);
bool makesFactors(const PartialConvDesc& desc);

BackwardPlan planBackward(const dnnl::engine& engine, const PartialConvDesc& desc,
                          const std::array<Span, 3>& live, int threads);

}  // namespace pconv::cpu
