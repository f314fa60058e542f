// Padding of every mode, and more behind than in front: the suite's profile on every row, and what its cases
// do not show.
#include <algorithm>

#include "conformance/builder.h"
#include "conformance/suite.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

constexpr PconvPaddingMode kModes[] = {PCONV_PADDING_MODE_ZEROS, PCONV_PADDING_MODE_REFLECT,
                                       PCONV_PADDING_MODE_REPLICATE, PCONV_PADDING_MODE_CIRCULAR};

class PaddingModes : public ::testing::TestWithParam<Row> {
  protected:
    static Problem problem(PconvPaddingMode mode) {
        Problem p = makeProblem(2, 6, 4, {8, 9}, 4, 1, 2);
        p.padding_mode = mode;
        p.padding_end = {1, 3};
        fillUniform(p, 1);
        addPlane(p, 2, MaskContent::binary, 2);
        return p;
    }
};

TEST_P(PaddingModes, EveryCaseOfTheProfile) {
    size_t ran = 0;
    for (const SuiteCase& c : conformanceSuite({})) {
        if (c.profile != "padding") continue;
        const CaseResult result = c.run(GetParam());
        EXPECT_NE(result.outcome, CaseOutcome::failed) << c.name << ": " << result.message;
        if (result.outcome == CaseOutcome::passed) ++ran;
    }
    EXPECT_GT(ran, 30U);
}

TEST_P(PaddingModes, GradientsAreAddedToWhatIsThere) {
    for (const PconvPaddingMode mode : kModes) {
        Problem p = problem(mode);
        p.grad_output.resize(static_cast<size_t>(product(outputDims(p))));
        for (size_t i = 0; i < p.grad_output.size(); ++i)
            p.grad_output[i] = static_cast<float>(i * 37 % 101) / 64 - 0.75F;
        std::string reason;
        if (!supports(GetParam(), p, reason)) GTEST_SKIP() << reason;
        Execution execution(GetParam(), p, {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CONTIGUOUS, 41});
        execution.setWeights();
        execution.computeMask();
        execution.poisonOutput();
        execution.forward();
        execution.backward();
        execution.accumulateBackward();
        Answer twice = solve(p);
        for (auto* values :
             {&twice.grad_input, &twice.grad_weight, &twice.grad_bias, &twice.grad_input_magnitude,
              &twice.grad_weight_magnitude, &twice.grad_bias_magnitude})
            for (double& value : *values) value *= 2;
        EXPECT_EQ(fault(p, twice, execution.read()), "") << "mode " << mode;
    }
}

TEST_P(PaddingModes, AMaskChangedInPlaceIsSeenWhenComputedAgain) {
    for (const PconvPaddingMode mode : kModes) {
        Problem p = problem(mode);
        Execution execution(GetParam(), p);
        execution.setWeights();
        for (uint32_t repeat = 0; repeat < 3; ++repeat) {
            addPlane(p, 200 + repeat, MaskContent::binary, 2);
            execution.writeMask(p.segments);
            execution.computeMask();
            execution.poisonOutput();
            execution.forward();
            EXPECT_EQ(fault(p, solve(p), execution.read()), "");
        }
    }
}

TEST_P(PaddingModes, AnUpdateOfAnotherPaddingIsRefused) {
    Execution reflected(GetParam(), problem(PCONV_PADDING_MODE_REFLECT));
    reflected.setWeights();
    reflected.computeMask();
    Problem other = problem(PCONV_PADDING_MODE_CIRCULAR);
    Execution circular(GetParam(), other);
    circular.setWeights();
    circular.computeMask();
    EXPECT_THROW(circular.forwardWith(reflected.update()), CallFailed);
    other.padding_mode = PCONV_PADDING_MODE_REFLECT;
    other.padding_end = {3, 1};
    Execution uneven(GetParam(), other);
    uneven.setWeights();
    uneven.computeMask();
    EXPECT_THROW(uneven.forwardWith(reflected.update()), CallFailed);
}

// A picture of all directions, turned: the mask turns with it.
TEST_P(PaddingModes, ACircularAxisHasNoSeam) {
    Problem p = makeProblem(1, 4, 5, {1, 24}, 1);
    p.kernel = {1, 5};
    p.padding = {0, 2};
    p.padding_mode = PCONV_PADDING_MODE_CIRCULAR;
    fillUniform(p, 3);
    addPlane(p, 4, MaskContent::binary, 1);
    const auto turned = [](std::vector<float> values) {
        for (size_t row = 0; row < values.size(); row += 24)
            std::rotate(values.begin() + static_cast<std::ptrdiff_t>(row),
                        values.begin() + static_cast<std::ptrdiff_t>(row + 8),
                        values.begin() + static_cast<std::ptrdiff_t>(row + 24));
        return values;
    };
    const Results plain = run(GetParam(), p);
    p.input = turned(p.input);
    p.segments[0].values = turned(p.segments[0].values);
    const Results round = run(GetParam(), p);
    EXPECT_EQ(round.updated_mask, turned(plain.updated_mask));
    EXPECT_EQ(round.window_sum, turned(plain.window_sum));
    EXPECT_EQ(fault(p, solve(p), round), "");
}

INSTANTIATE_TEST_SUITE_P(Rows, PaddingModes, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
