#include "conformance/tolerance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace pconv::test {

Units unitsOf(PconvDataType type) {
    Units units;
    if (type == PCONV_DATA_TYPE_F16) {
        units.output = 0x1p-11;
        units.smallest = 0x1p-25;
    } else if (type == PCONV_DATA_TYPE_BF16) {
        units.output = 0x1p-8;
    }
    return units;
}

std::vector<double> outputBounds(const Problem& p, const Answer& a, const Units& units) {
    // An activation that is steeper than 1 stretches errors; GELU is 1.129 at most, where y is the root of 2.
    const bool gelu = p.activation == PCONV_ACTIVATION_GELU;
    const double slope = gelu ? 1.13
                         : p.activation == PCONV_ACTIVATION_LEAKY_RELU
                             ? std::abs(static_cast<double>(p.negative_slope))
                             : 0;
    const double steepness = std::max(1.0, slope);
    const double own = gelu ? kGeluUnits * kF32Unit : 0;
    const size_t positions = a.output.size() / static_cast<size_t>(p.batch * p.out_channels);
    std::vector<double> bounds;
    for (size_t i = 0; i < a.output.size(); ++i) {
        const size_t channel = i / positions % static_cast<size_t>(p.out_channels);
        const double b = p.has_bias ? std::abs(static_cast<double>(p.bias[channel])) : 0;
        const double sums =
            (p.fast_math ? 10 : 1) * 16 * kF32Unit * a.magnitude[i] + 8 * units.input * a.norm[i];
        const double linear = a.gain[i] * sums + 4 * kF32Unit * (std::abs(a.linear[i]) + b);
        // Where u is 0 the output is exactly 0, bias or not.
        bounds.push_back(a.gain[i] == 0 ? 0
                                        : steepness * linear + (own + units.output) * std::abs(a.output[i]) +
                                              units.smallest);
    }
    return bounds;
}

std::vector<double> windowSumBounds(const Problem& p, const Answer& a) {
    std::vector<double> bounds(a.window_sum.size(), 0);
    if (p.mask_type != PCONV_MASK_TYPE_FRACTIONAL) return bounds;
    for (size_t i = 0; i < bounds.size(); ++i)
        bounds[i] = static_cast<double>(a.window_terms + 2) * kF32Unit * a.window_magnitude[i];
    return bounds;
}

std::vector<double> gradientBounds(const std::vector<double>& gradient, const std::vector<double>& magnitude,
                                   const Units& units) {
    const double sums = 16 * kF32Unit + (units.output > kF32Unit ? units.output : 0);
    std::vector<double> bounds;
    for (size_t i = 0; i < gradient.size(); ++i)
        bounds.push_back(sums * magnitude[i] + units.output * std::abs(gradient[i]) + units.smallest);
    return bounds;
}

std::vector<double> inputGradientBounds(const Answer& a, const Units& units) {
    std::vector<double> bounds = gradientBounds(a.grad_input, a.grad_input_magnitude, units);
    for (size_t i = 0; i < a.images.size(); ++i)
        bounds[i] += units.output * a.image_gradients[i] + units.smallest * a.images[i];
    return bounds;
}

std::vector<double> updatedMaskBounds(const Problem& p, const Answer& a) {
    if (p.isMaskedConv()) {
        // A quotient of two sums of positive numbers.
        std::vector<double> bounds;
        for (const double u : a.updated_mask)
            bounds.push_back(p.segments.empty() ? 0
                                                : static_cast<double>(2 * a.window_terms + 4) * kF32Unit * u);
        return bounds;
    }
    std::vector<double> bounds = windowSumBounds(p, a);
    for (size_t i = 0; i < bounds.size(); ++i)
        if (p.normalization == PCONV_NORMALIZATION_MASK_SUM || a.window_sum[i] - bounds[i] >= 1)
            bounds[i] = 0;
    return bounds;
}

std::vector<double> ratioBounds(const Problem& p, const Answer& a) {
    std::vector<double> bounds = windowSumBounds(p, a);
    for (size_t i = 0; i < bounds.size(); ++i) {
        const double sum_error = a.window_sum[i] > 0 ? bounds[i] / a.window_sum[i] : 0;
        bounds[i] = a.ratio[i] * (2 * sum_error + 8 * kF32Unit);
    }
    return bounds;
}

Verdict compare(const std::string& what, const std::vector<double>& expected,
                const std::vector<double>& bounds, const std::vector<float>& got) {
    Verdict verdict;
    if (got.size() != expected.size()) {
        verdict.within = false;
        verdict.message = what + " has " + std::to_string(got.size()) + " elements; expected " +
                          std::to_string(expected.size());
        return verdict;
    }
    size_t worst = 0;
    size_t outside = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        const double error = std::abs(static_cast<double>(got[i]) - expected[i]);
        // Not a number is as far off as can be.
        const bool within = error <= bounds[i];
        const double part = std::isnan(error) || (!within && bounds[i] == 0)
                                ? std::numeric_limits<double>::infinity()
                            : error == 0 ? 0
                                         : error / bounds[i];
        if (!within) ++outside;
        if (part > verdict.worst) {
            verdict.worst = part;
            worst = i;
        }
    }
    if (outside == 0) return verdict;
    verdict.within = false;
    std::ostringstream text;
    text.precision(10);
    text << what << ": " << outside << " of " << expected.size() << " elements out of bounds; element "
         << worst << " is " << got[worst] << ", expected " << expected[worst] << " within " << bounds[worst];
    verdict.message = text.str();
    return verdict;
}

}  // namespace pconv::test
