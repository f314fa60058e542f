#include "conformance/judge.h"

#include <algorithm>

namespace pconv::test {

Verdict judge(const Problem& problem, const Answer& answer, const Results& got, const Units& units) {
    Verdict all;
    if (!got.damage.empty()) {
        all.within = false;
        all.message = got.damage;
        return all;
    }
    const Verdict verdicts[] = {
        compare("window sum", answer.window_sum, windowSumBounds(problem, answer), got.window_sum),
        compare("updated mask", answer.updated_mask, updatedMaskBounds(problem, answer), got.updated_mask),
        compare("ratio", answer.ratio, ratioBounds(problem, answer), got.ratio),
        compare("output", answer.output, outputBounds(problem, answer, units), got.output),
        compare("grad_input", answer.grad_input, inputGradientBounds(answer, units), got.grad_input),
        compare("grad_weight", answer.grad_weight,
                gradientBounds(answer.grad_weight, answer.grad_weight_magnitude, units), got.grad_weight),
        compare("grad_bias", answer.grad_bias,
                gradientBounds(answer.grad_bias, answer.grad_bias_magnitude, units), got.grad_bias)};
    for (const Verdict& verdict : verdicts) {
        all.worst = std::max(all.worst, verdict.worst);
        if (all.within && !verdict.within) {
            all.within = false;
            all.message = verdict.message;
        }
    }
    return all;
}

}  // namespace pconv::test
