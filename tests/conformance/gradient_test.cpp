// The oracle's gradients against finite differences in float64. Without an activation the outputs are linear
// in input, weight and bias, so a difference over any step is the derivative itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "conformance/oracle.h"
#include "fuzz/random_problem.h"

namespace pconv::test {
namespace {

// What the gradients are of: the sum of grad_output * output.
double loss(const Problem& problem) {
    const Answer answer = solve(problem);
    double sum = 0;
    for (size_t i = 0; i < answer.output.size(); ++i)
        sum += static_cast<double>(problem.grad_output[i]) * answer.output[i];
    return sum;
}

double difference(const Problem& problem, std::vector<float> Problem::*values, size_t i) {
    Problem up = problem;
    Problem down = problem;
    (up.*values)[i] += 1;
    (down.*values)[i] -= 1;
    const double step = static_cast<double>((up.*values)[i]) - static_cast<double>((down.*values)[i]);
    return (loss(up) - loss(down)) / step;
}

void expectDerivatives(const Problem& problem, std::vector<float> Problem::*values,
                       const std::vector<double>& gradient, const char* name, size_t& compared) {
    ASSERT_EQ((problem.*values).size(), gradient.size());
    // What the loss adds up bounds the rounding of a difference of two losses.
    const double scale = std::abs(loss(problem)) + static_cast<double>(problem.grad_output.size());
    const size_t step = std::max<size_t>(1, gradient.size() / 5);
    for (size_t i = 0; i < gradient.size(); i += step) {
        EXPECT_NEAR(difference(problem, values, i), gradient[i], 1e-11 * scale) << name << " element " << i;
        ++compared;
    }
}

TEST(OracleGradients, AreFiniteDifferences) {
    size_t problems = 0;
    size_t compared = 0;
    for (uint32_t seed = 1; problems < 60; ++seed) {
        const RandomCase random = randomCase(seed, 20000);
        Problem p = random.problem;
        if (p.grad_output.empty()) continue;
        // The mask of a masked convolution is made of the weights, and no gradient flows through it.
        const bool through_weights = !p.isMaskedConv() || p.mask_type == PCONV_MASK_TYPE_NONE;
        SCOPED_TRACE(describeCase(random));
        const Answer answer = solve(p);
        expectDerivatives(p, &Problem::input, answer.grad_input, "grad_input", compared);
        if (through_weights)
            expectDerivatives(p, &Problem::weight, answer.grad_weight, "grad_weight", compared);
        if (p.has_bias) expectDerivatives(p, &Problem::bias, answer.grad_bias, "grad_bias", compared);
        ++problems;
    }
    EXPECT_GT(compared, 500U);
}

}  // namespace
}  // namespace pconv::test
