// A device's results against the oracle, as one assertion.
#pragma once

#include <gtest/gtest.h>

#include "conformance/execution.h"
#include "conformance/tolerance.h"

namespace pconv::test {

// "" where output, updated mask, window sum and ratio lie within their bounds and nothing else was touched;
// else the first fault.
inline std::string fault(const Problem& problem, const Answer& answer, const Results& got,
                         const Units& units = {}) {
    if (!got.damage.empty()) return got.damage;
    const Verdict verdicts[] = {
        compare("window sum", answer.window_sum, windowSumBounds(problem, answer), got.window_sum),
        compare("updated mask", answer.updated_mask, updatedMaskBounds(problem, answer), got.updated_mask),
        compare("ratio", answer.ratio, ratioBounds(problem, answer), got.ratio),
        compare("output", answer.output, outputBounds(problem, answer, units), got.output),
        compare("grad_input", answer.grad_input,
                gradientBounds(answer.grad_input, answer.grad_input_magnitude), got.grad_input),
        compare("grad_weight", answer.grad_weight,
                gradientBounds(answer.grad_weight, answer.grad_weight_magnitude), got.grad_weight),
        compare("grad_bias", answer.grad_bias, gradientBounds(answer.grad_bias, answer.grad_bias_magnitude),
                got.grad_bias)};
    for (const Verdict& verdict : verdicts)
        if (!verdict.within) return verdict.message;
    return "";
}

inline ::testing::AssertionResult conforms(const Row& row, const Problem& problem,
                                           const Placement& placement = {}) {
    const std::string text = fault(problem, solve(problem), run(row, problem, placement));
    if (text.empty()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure() << text;
}

}  // namespace pconv::test
