// The formulas of docs/semantics.md in float64, written apart from the library: every input element is
// handed to the outputs it reaches, where the library gathers.
#pragma once

#include <vector>

#include "conformance/problem.h"

namespace pconv::test {

// Faults that implementations are known for, built in to prove that the comparison sees them.
enum class Mutation {
    none,
    tap_off_by_one,     // the weights along the last dimension are shifted by one tap
    no_clamp,           // u = s
    bias_inside_ratio,  // (conv + b) * r * u
    u_once,             // conv * r + b * u
    padding_is_valid,   // taps in the padding count 1
    one_channel_count,  // a one-channel mask given to multi-channel mode counts one channel
    last_column_lost,   // the last output of each row is 0
    edge_twice,         // reflections begin with the element at the edge
    mask_not_padded     // padding modes are of the input alone: taps beyond the mask count 0
};

struct Answer {
    int64_t mask_batch = 1;
    int64_t mask_groups = 1;
    // [mask batch, mask groups, O...]; a masked convolution has only the updated mask
    std::vector<double> window_sum, updated_mask, ratio;
    std::vector<double> window_magnitude;  // the sum of |m|
    int64_t window_terms = 1;              // how many values a window sum adds up at most
    // [N, Cout, O...]
    std::vector<double> convolution;  // of the masked input, nothing else
    std::vector<double> output;
    std::vector<double> linear;     // the output before the activation
    std::vector<double> magnitude;  // S1, the sum of |x * w|
    std::vector<double> norm;       // S2, the root of the sum of (x * w)^2
    std::vector<double> gain;       // what the convolution is multiplied by
    // Of the shapes of input, weight and bias, and the sums of the magnitudes of what is added up in each;
    // empty where the problem has no grad_output.
    std::vector<double> grad_input, grad_weight, grad_bias;
    std::vector<double> grad_input_magnitude, grad_weight_magnitude, grad_bias_magnitude;
    // With padding other than zeros, of input elements with more than one image: how many there are and the
    // sum of the magnitudes of their gradients; 0 elsewhere.
    std::vector<double> images, image_gradients;
};

Answer solve(const Problem& problem, Mutation mutation = Mutation::none);

}  // namespace pconv::test
