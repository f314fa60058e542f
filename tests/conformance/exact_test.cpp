// The exact tier: data on which f32 arithmetic makes no error, so that rows have no excuse.
#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

const Placement kPlacements[] = {{PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CONTIGUOUS, 0},
                                 {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 5}};

class Exact : public ::testing::TestWithParam<Row> {};

// Without a bias the output is one rounding of the accumulator times the ratio, whatever the ratio is; the
// accumulator of small integers is exact, so every bit of the output is known.
void expectExactAccumulator(const Row& row, Problem problem) {
    problem.has_bias = false;
    fillIntegers(problem, 77, 4);
    const Answer answer = solve(problem);
    for (const Placement& placement : kPlacements) {
        const Results got = run(row, problem, placement);
        EXPECT_EQ(got.damage, "");
        const Verdict sum = compare("window sum", answer.window_sum,
                                    std::vector<double>(answer.window_sum.size(), 0), got.window_sum);
        EXPECT_TRUE(sum.within) << sum.message;
        const Verdict mask = compare("updated mask", answer.updated_mask,
                                     std::vector<double>(answer.updated_mask.size(), 0), got.updated_mask);
        EXPECT_TRUE(mask.within) << mask.message;
        const Verdict ratio = compare("ratio", answer.ratio, ratioBounds(problem, answer), got.ratio);
        EXPECT_TRUE(ratio.within) << ratio.message;
        const size_t positions = static_cast<size_t>(product(outputSize(problem)));
        const auto channels = static_cast<size_t>(problem.out_channels);
        const auto groups = static_cast<size_t>(answer.mask_groups);
        size_t wrong = 0;
        for (size_t i = 0; i < got.output.size(); ++i) {
            const size_t n = answer.mask_batch == 1 ? 0 : i / positions / channels;
            const size_t g = i / positions % channels / (channels / groups);
            const double r = static_cast<double>(got.ratio[(n * groups + g) * positions + i % positions]);
            if (got.output[i] != static_cast<float>(answer.convolution[i] * r)) ++wrong;
        }
        EXPECT_EQ(wrong, 0U) << "of " << got.output.size() << " elements";
    }
}

TEST_P(Exact, AccumulatorOfABinaryMask) {
    Problem p = makeProblem(2, 9, 7, {13, 18}, 3, 1, 1);
    addPlane(p, 1, MaskContent::binary, 2);
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, AccumulatorOfManyChannels) {
    Problem p = makeProblem(1, 67, 33, {9, 10}, 3, 1, 1);
    addPlane(p, 2, MaskContent::binary, 1);
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, AccumulatorOfStridesAndDilation) {
    Problem p = makeProblem(1, 4, 8, {21, 23}, 3, 2, 3, 2);
    addPlane(p, 3, MaskContent::binary, 1);
    expectExactAccumulator(GetParam(), p);
    p = makeProblem(1, 3, 16, {20, 19}, 7, 2, 3);
    addPlane(p, 4, MaskContent::binary, 1);
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, AccumulatorOfGroups) {
    Problem p = makeProblem(2, 8, 12, {8, 9}, 3, 1, 1, 1, 4);
    addSegments(p, 5, MaskContent::binary, 2, {{8, 1}});
    expectExactAccumulator(GetParam(), p);
    p.group_window = true;
    expectExactAccumulator(GetParam(), p);
    p = makeProblem(1, 6, 6, {8, 9}, 3, 1, 1, 1, 6);
    addPlane(p, 6, MaskContent::binary, 1);
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, AccumulatorInOneAndThreeDimensions) {
    Problem p = makeProblem(2, 5, 6, {41}, 5, 1, 2);
    addPlane(p, 7, MaskContent::binary, 1);
    expectExactAccumulator(GetParam(), p);
    p = makeProblem(1, 3, 5, {5, 7, 6}, 3, 1, 1);
    addSegments(p, 8, MaskContent::binary, 1, {{1, 2}, {1, 1}});
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, AccumulatorWithoutAMask) {
    Problem p = makeProblem(2, 4, 5, {11, 9}, 3, 1, 2);
    removeMask(p);
    expectExactAccumulator(GetParam(), p);
    p.multi_channel = true;
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, WindowSumsOfEighths) {
    Problem p = makeProblem(2, 6, 4, {12, 11}, 3, 1, 1);
    addPlane(p, 9, MaskContent::eighths, 2);
    expectExactAccumulator(GetParam(), p);
    addSegments(p, 10, MaskContent::eighths, 1, {{2, 2}, {2, 1}});
    expectExactAccumulator(GetParam(), p);
    p.polarity = PCONV_MASK_HOLE_IS_ONE;
    expectExactAccumulator(GetParam(), p);
}

TEST_P(Exact, MaskSumNormalization) {
    Problem p = makeProblem(1, 5, 4, {12, 11}, 3, 2, 1);
    p.normalization = PCONV_NORMALIZATION_MASK_SUM;
    addPlane(p, 11, MaskContent::binary, 1);
    expectExactAccumulator(GetParam(), p);
}

// Windows of 2 x 2 that do not overlap, with 0, 1, 2 or 4 valid pixels: the ratio is a power of two, and the
// whole epilogue is exact.
TEST_P(Exact, EpilogueWithPowersOfTwo) {
    Problem p = makeProblem(1, 6, 10, {16, 24}, 2, 2);
    p.eps = 0;
    addPlane(p, 12, MaskContent::binary, 1);
    std::vector<float>& mask = p.segments[0].values;
    for (size_t y = 0; y < 16; y += 2)
        for (size_t x = 0; x < 24; x += 2) {
            const size_t kind = (y / 2 * 5 + x / 2) % 4;
            mask[y * 24 + x] = kind >= 1 ? 1 : 0;
            mask[y * 24 + x + 1] = kind >= 2 ? 1 : 0;
            mask[(y + 1) * 24 + x] = mask[(y + 1) * 24 + x + 1] = kind == 3 ? 1 : 0;
        }
    fillIntegers(p, 13, 5);
    for (const PconvActivation activation :
         {PCONV_ACTIVATION_NONE, PCONV_ACTIVATION_RELU, PCONV_ACTIVATION_LEAKY_RELU}) {
        p.activation = activation;
        p.negative_slope = 0.25F;
        const Answer answer = solve(p);
        for (const Placement& placement : kPlacements) {
            const Results got = run(GetParam(), p, placement);
            EXPECT_EQ(got.damage, "");
            const Verdict verdict =
                compare("output", answer.output, std::vector<double>(answer.output.size(), 0), got.output);
            EXPECT_TRUE(verdict.within) << verdict.message;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, Exact, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
