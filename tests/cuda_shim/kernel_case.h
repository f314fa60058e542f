// One operator call, forward and backward, for the kernels and for the oracle they are held to.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cuda/kernels/kernels.h"

namespace pconv::cuda {

struct CaseSegment {
    int planes = 1, multiplicity = 1;
    std::vector<float> values;  // [mask batch, planes, D, H, W], as the caller has them
};

struct KernelCase {
    ConvShape shape{};
    DataType type = DataType::f32;
    bool fast_math = false;
    MaskType mask_type = MaskType::binary;
    Normalization normalization = Normalization::window_ratio;
    float eps = 1e-8F;
    bool multi_channel = false, group_window = false;
    int mask_batch = 1;
    bool hole_is_one = false;
    std::vector<CaseSegment> segments;  // none: no mask
    bool has_bias = true, input_is_masked = false;
    Activation activation = Activation::none;
    float negative_slope = 0.01F;
    bool accumulate = false;  // gradients are added to what is there
    // Contiguous in PyTorch's order, rounded to `type`.
    std::vector<float> input, weight, bias, grad_output;
    // How tensors lie in memory.
    bool input_channels_last = false, output_channels_last = false;
    int gap = 0;  // elements between rows, planes, images

    bool maskedConvolution() const { return normalization == Normalization::weight_magnitude; }
    bool appliesMask() const { return has_bias || maskedConvolution(); }
    int maskGroups() const;
    int countedChannels() const;
    int groupIn() const { return shape.in_channels / shape.groups; }
    int groupOut() const { return shape.out_channels / shape.groups; }
    // The mask's value for an input element; 1 where there is no mask.
    double maskAt(int n, int channel, int position) const;
    std::string text() const;
};

int volume(const int (&size)[3]);
// Fills in the output's extents.
void setOutput(ConvShape& shape);
float rounded(float value, DataType type);

// What the kernels must answer, and how far they may be off, element by element.
struct Expected {
    std::vector<double> values, bounds;
};

struct Answers {
    Expected window_sum, updated, ratio;  // [mask batch, mask groups, O...]
    Expected output, grad_input, grad_weight, grad_bias;
};

// float64, straight from the formulas. `input_unit`: the rounding unit that products are entitled to beyond
// that of the case's type; `previous`: what gradients are added to.
Answers solve(const KernelCase& c, double input_unit, const std::vector<float>& previous);

struct Results {
    std::vector<float> window_sum, updated, ratio, output, grad_input, grad_weight, grad_bias;
};

enum class Algorithm { direct, igemm };

// Runs the real kernels. Throws std::runtime_error where something was written that must not be, or left
// unwritten. `previous`: what accumulating gradients find.
Results run(const KernelCase& c, Algorithm algorithm, const std::vector<float>& previous);

// "" where all results lie within their bounds, else the worst.
std::string compare(const Answers& answers, const Results& results);

// Both algorithms that can do the case, under two orders of threads, against the oracle and each other; the
// fault or "". `ran` counts the algorithms.
std::string check(const KernelCase& c, int& ran);

}  // namespace pconv::cuda
