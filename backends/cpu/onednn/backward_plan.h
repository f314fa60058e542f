// How the backward pass is cut into parts of the output, whole images or ranges of one spatial dimension, and
// into slices of the input's channels. A few parts at a time, a wave, are in scratch memory; each slice of
// each is one thread's. What a part and the next one both add to the input's gradient is added up between
// them.
#pragma once

#include "cpu/onednn/backward_convolution.h"
#include "cpu/scratch.h"

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
    size_t input;   // of a slice of a part: masked or its gradient
    size_t output;  // of a part: the gradient of the convolution's result
    size_t shared;  // of a slice
    size_t bias_sums;
    size_t factors;
    size_t grad_weights, scratchpad;  // of a slice of a part
    size_t plain_grad_weights;
    size_t packed_weights;  // of a slice of one separate group
};

struct BackwardPlan {
    int64_t separate_groups = 1;
    int64_t slices = 1, wave = 1;
    size_t cut = 0;  // the dimension
    std::vector<BackwardForm> forms;
    std::vector<BackwardPart> parts;
    BackwardSizes sizes{};

    int64_t units() const { return slices * wave; }
    // Of all slices of a wave, where the sums of the bias's gradient lie too.
    size_t inputBytes() const;
    size_t bytes() const;
};

// Elements of a tensor in the layout, channels padded to whole blocks.
int64_t scratchSize(ScratchLayout layout, int64_t channels, int64_t pixels);
// The convolution of one slice.
PlainConv plainConvOf(const PartialConvDesc& desc, int64_t separate_groups, int64_t slices, const Box& box);
// How many parts of the sums of the bias's gradient there are.
int64_t biasParts(const PartialConvDesc& desc, int threads);
bool makesFactors(const PartialConvDesc& desc);

BackwardPlan planBackward(const dnnl::engine& engine, const PartialConvDesc& desc,
                          const std::array<Span, 3>& live, int threads);

}  // namespace pconv::cpu
