// One operator call in plain numbers: what the oracle computes and what a device is asked to compute.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "pconv/pconv.h"

namespace pconv::test {

// Planes [mask batch, planes, S...], each of which serves `multiplicity` input channels.
struct Segment {
    int64_t planes = 1;
    int64_t multiplicity = 1;
    std::vector<float> values;
};

struct Problem {
    std::string name;
    int64_t batch = 1, in_channels = 1, out_channels = 1, groups = 1;
    std::vector<int64_t> size, kernel, stride, padding, dilation;  // one a spatial dimension
    std::vector<int64_t> padding_end;                              // empty: as in front
    PconvPaddingMode padding_mode = PCONV_PADDING_MODE_ZEROS;
    PconvMaskType mask_type = PCONV_MASK_TYPE_BINARY;
    PconvMaskPolarity polarity = PCONV_MASK_VALID_IS_ONE;
    int64_t mask_batch = 1;
    std::vector<Segment> segments;  // none where there is no mask
    bool multi_channel = false;
    bool group_window = false;
    PconvNormalization normalization = PCONV_NORMALIZATION_WINDOW_RATIO;
    double eps = 1e-8;
    PconvActivation activation = PCONV_ACTIVATION_NONE;
    float negative_slope = 0.01F;
    bool has_bias = true;
    bool input_is_masked = false;
    bool fast_math = false;
    PconvDataType data_type =
        PCONV_DATA_TYPE_F32;                 // of all tensors but the mask; the numbers are rounded to it
    std::vector<float> input, weight, bias;  // contiguous, in PyTorch's order
    std::vector<float> grad_output;          // where there is one, the backward pass is run as well

    // A problem of `dims` spatial dimensions with kernel 1 and size 1.
    static Problem ofDims(int dims);
    // The masked convolution instead of the partial one.
    bool isMaskedConv() const { return normalization == PCONV_NORMALIZATION_WEIGHT_MAGNITUDE; }
    int dims() const { return static_cast<int>(size.size()); }
    int64_t paddingBehind(size_t d) const { return padding_end.empty() ? padding[d] : padding_end[d]; }
};

// The problem in another type, its numbers rounded to it: device and oracle see the same ones.
Problem inType(const Problem& problem, PconvDataType type);

float roundedTo(float value, PconvDataType type);

int64_t product(const std::vector<int64_t>& values);

std::vector<int64_t> outputSize(const Problem& problem);
// [N, C, S...]
std::vector<int64_t> inputDims(const Problem& problem);
std::vector<int64_t> outputDims(const Problem& problem);
std::vector<int64_t> weightDims(const Problem& problem);
std::vector<int64_t> planeDims(const Problem& problem, const Segment& segment);

PconvPartialConvDesc describe(const Problem& problem);

// The value in [0, 1] of the mask for an input element, whatever the polarity; 1 where there is no mask.
double maskValue(const Problem& problem, int64_t n, int64_t channel, int64_t position);

// The same mask stated the other way round. Exact for binary masks.
Problem withPolarityFlipped(const Problem& problem);

// The same mask as planes of F32 instead of U8.
Problem withFractionalType(const Problem& problem);

// Multiply-adds of the convolution.
int64_t work(const Problem& problem);

}  // namespace pconv::test
