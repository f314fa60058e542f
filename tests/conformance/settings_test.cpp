// Every setting of the operator, and the ways to use its objects again.
#include <cmath>
#include <limits>

#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

class Settings : public ::testing::TestWithParam<Row> {
  protected:
    // In two placements, so that each setting meets both layouts.
    void expectConforms(const Problem& problem) {
        EXPECT_TRUE(conforms(GetParam(), problem));
        const Placement other{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 31};
        EXPECT_TRUE(conforms(GetParam(), problem, other)) << "channels last, spread";
    }

    static Problem plain(uint32_t seed, MaskContent content = MaskContent::binary) {
        Problem p = makeProblem(2, 6, 8, {12, 13}, 3, 1, 1, 1, 2);
        fillUniform(p, seed);
        addPlane(p, seed + 1, content, 2);
        return p;
    }
};

TEST_P(Settings, Eps) {
    for (const double eps : {0.0, 1e-6, 0.5, 100.0}) {
        Problem p = plain(1);
        p.eps = eps;
        expectConforms(p);
        p = plain(3, MaskContent::fractions);
        p.eps = eps;
        expectConforms(p);
    }
}

TEST_P(Settings, MaskSumNormalization) {
    for (const MaskContent content : {MaskContent::binary, MaskContent::fractions}) {
        Problem p = plain(5, content);
        p.normalization = PCONV_NORMALIZATION_MASK_SUM;
        expectConforms(p);
        addSegments(p, 6, content, 2, {{6, 1}});
        expectConforms(p);
        p.group_window = true;
        expectConforms(p);
    }
}

TEST_P(Settings, Activations) {
    for (const float slope : {0.0F, 0.2F, -0.5F, 3.0F}) {
        Problem p = plain(7, MaskContent::fractions);
        p.activation = PCONV_ACTIVATION_LEAKY_RELU;
        p.negative_slope = slope;
        expectConforms(p);
    }
    for (const PconvActivation activation : {PCONV_ACTIVATION_RELU, PCONV_ACTIVATION_GELU}) {
        Problem p = plain(8);
        p.activation = activation;
        expectConforms(p);
        p.has_bias = false;
        expectConforms(p);
        p = plain(7, MaskContent::fractions);
        p.activation = activation;
        expectConforms(p);
    }
}

// Copies its input, and applies GELU: a masked convolution without a mask, so that there is no ratio.
Problem geluAlone(std::vector<float> input) {
    Problem p = makeProblem(1, 1, 1, {static_cast<int64_t>(input.size())}, 1);
    removeMask(p);
    p.multi_channel = true;
    p.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    p.has_bias = false;
    p.activation = PCONV_ACTIVATION_GELU;
    p.weight = {1};
    p.input = std::move(input);
    return p;
}

// All of the error is GELU's: relative to a result however small.
TEST_P(Settings, GeluKeepsItsDigits) {
    std::vector<float> input;
    for (int i = 0; i < 4096; ++i) input.push_back(static_cast<float>(i - 3072) / 256 * 0.99999F);
    const Problem p = geluAlone(input);
    std::string reason;
    if (!supports(GetParam(), p, reason)) GTEST_SKIP() << reason;
    const Answer answer = solve(p);
    std::vector<double> bounds;
    for (const double y : answer.output) bounds.push_back((kGeluUnits + 1) * kF32Unit * std::abs(y));
    const Verdict verdict = compare("output", answer.output, bounds, run(GetParam(), p).output);
    EXPECT_TRUE(verdict.within) << verdict.message;
}

// As in PyTorch.
TEST_P(Settings, GeluOfWhatIsNotFinite) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    const Problem p =
        geluAlone({kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 1e30F, -1e30F, 0});
    std::string reason;
    if (!supports(GetParam(), p, reason)) GTEST_SKIP() << reason;
    const std::vector<float> got = run(GetParam(), p).output;
    EXPECT_EQ(got[0], kInfinity);
    EXPECT_TRUE(std::isnan(got[1]));
    EXPECT_TRUE(std::isnan(got[2]));
    EXPECT_EQ(got[3], 1e30F);
    EXPECT_EQ(got[4], 0);
    EXPECT_EQ(got[5], 0);
}

TEST_P(Settings, NoBias) {
    for (const MaskContent content : {MaskContent::binary, MaskContent::fractions}) {
        Problem p = plain(9, content);
        p.has_bias = false;
        expectConforms(p);
    }
}

TEST_P(Settings, Polarity) {
    const Problem p = plain(10);
    const Results valid = run(GetParam(), p);
    const Results hole = run(GetParam(), withPolarityFlipped(p));
    EXPECT_EQ(valid.output, hole.output);
    EXPECT_EQ(valid.updated_mask, hole.updated_mask);
    EXPECT_EQ(valid.window_sum, hole.window_sum);
    EXPECT_EQ(valid.ratio, hole.ratio);
    Problem fractional = plain(11, MaskContent::fractions);
    fractional.polarity = PCONV_MASK_HOLE_IS_ONE;
    expectConforms(fractional);
}

TEST_P(Settings, MaskForms) {
    for (const MaskContent content : {MaskContent::binary, MaskContent::fractions})
        for (const int64_t mask_batch : {1, 2}) {
            Problem p = plain(12);
            addPlane(p, 13, content, mask_batch);
            expectConforms(p);
            const std::vector<std::pair<int64_t, int64_t>> forms[] = {
                {{6, 1}}, {{1, 6}}, {{1, 4}, {1, 2}}, {{2, 2}, {1, 1}, {1, 1}}};
            for (const auto& form : forms)
                for (const bool group_window : {false, true}) {
                    addSegments(p, 14, content, mask_batch, form);
                    p.group_window = group_window;
                    EXPECT_TRUE(conforms(GetParam(), p)) << "segments " << form.size();
                }
        }
}

TEST_P(Settings, GroupsOfManyKinds) {
    for (const auto& [in, out, groups] : {std::array<int64_t, 3>{8, 8, 8},
                                          {8, 16, 8},
                                          {12, 4, 4},
                                          {20, 30, 10},
                                          {36, 36, 2},
                                          {16, 16, 2},
                                          {32, 16, 2},
                                          {24, 48, 3}}) {
        Problem p = makeProblem(1, in, out, {9, 10}, 3, 1, 1, 1, groups);
        fillUniform(p, 15);
        addPlane(p, 16, MaskContent::binary, 1);
        expectConforms(p);
        addSegments(p, 17, MaskContent::binary, 1, {{in, 1}});
        p.group_window = true;
        expectConforms(p);
    }
}

TEST_P(Settings, EachDimensionHasItsOwnWindow) {
    Problem p = makeProblem(1, 3, 4, {9, 20, 14}, 1);
    p.kernel = {1, 3, 5};
    p.stride = {2, 1, 3};
    p.padding = {0, 3, 2};
    p.dilation = {3, 2, 1};
    fillUniform(p, 18);
    addPlane(p, 19, MaskContent::binary, 1);
    expectConforms(p);
    Problem flat = makeProblem(1, 3, 4, {20, 14}, 1);
    flat.kernel = {7, 2};
    flat.stride = {1, 4};
    flat.padding = {0, 5};
    flat.dilation = {2, 3};
    fillUniform(flat, 20);
    addPlane(flat, 21, MaskContent::binary, 1);
    expectConforms(flat);
}

TEST_P(Settings, InputThatIsMaskedAlready) {
    Problem p = plain(22);
    fillHoles(p, 0);
    p.input_is_masked = true;
    expectConforms(p);
    addSegments(p, 23, MaskContent::binary, 1, {{6, 1}});
    fillHoles(p, 0);
    expectConforms(p);
}

TEST_P(Settings, FastMathStaysWithinItsWiderBound) {
    for (const int64_t channels : {8, 32}) {
        Problem p = makeProblem(1, channels, channels, {17, 22}, 3, 1, 1);
        p.fast_math = true;
        fillUniform(p, 24);
        addPlane(p, 25, MaskContent::binary, 1);
        Units units;
        units.input = 0x1p-11;
        EXPECT_EQ(fault(p, solve(p), run(GetParam(), p), units), "") << channels << " channels";
    }
}

TEST_P(Settings, MaskSumIsTheRatioWithScaledWeights) {
    Problem p = makeProblem(1, 4, 4, {12, 13}, 2, 1, 1);
    fillUniform(p, 26);
    addPlane(p, 27, MaskContent::binary, 1);
    p.has_bias = false;
    p.eps = 0;
    const Results ratio = run(GetParam(), p);
    for (float& w : p.weight) w *= 4;  // the window's size, a power of two
    p.normalization = PCONV_NORMALIZATION_MASK_SUM;
    const Results sum = run(GetParam(), p);
    const Answer answer = solve(p);
    for (size_t i = 0; i < ratio.output.size(); ++i)
        EXPECT_NEAR(ratio.output[i], sum.output[i], 8 * kF32Unit * answer.gain[i] * answer.magnitude[i]);
}

TEST_P(Settings, WeightsMayBeSetAgain) {
    Problem p = plain(28);
    Execution execution(GetParam(), p);
    execution.setWeights();
    execution.computeMask();
    for (uint32_t repeat = 0; repeat < 3; ++repeat) {
        Problem other = p;
        fillUniform(other, 100 + repeat);
        p.weight = other.weight;
        p.bias = other.bias;
        execution.writeWeights(p.weight, p.bias);
        execution.setWeights();
        // The convolution has its own copy: what comes into the memory afterwards does not matter.
        execution.writeWeights(std::vector<float>(p.weight.size(), 9), std::vector<float>(p.bias.size(), 9));
        execution.poisonOutput();
        execution.forward();
        EXPECT_EQ(fault(p, solve(p), execution.read()), "");
    }
}

// What is all valid may be read where it lies; what has one hole may not.
TEST_P(Settings, FewHolesInOneOfTwoPictures) {
    const Placement dense{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST};
    for (const int64_t mask_batch : {1, 2})
        for (const int64_t hole : {0, 5, 16 * 24 - 1}) {
            Problem p = makeProblem(2, 16, 32, {16, 24}, 3, 1, 1);
            fillUniform(p, 40);
            p.mask_batch = mask_batch;
            p.segments = {{1, 1, std::vector<float>(static_cast<size_t>(mask_batch * 16 * 24), 1.0F)}};
            EXPECT_TRUE(conforms(GetParam(), p, dense)) << "no holes";
            p.segments[0].values[static_cast<size_t>((mask_batch - 1) * 16 * 24 + hole)] = 0;
            fillHoles(p, std::numeric_limits<float>::quiet_NaN());
            EXPECT_TRUE(conforms(GetParam(), p, dense)) << hole;
            EXPECT_TRUE(conforms(GetParam(), withPolarityFlipped(p), dense)) << hole << " flipped";
        }
}

TEST_P(Settings, AMaskChangedInPlaceIsSeenWhenComputedAgain) {
    for (const MaskContent content : {MaskContent::binary, MaskContent::fractions}) {
        Problem p = plain(29, content);
        Execution execution(GetParam(), p);
        execution.setWeights();
        for (uint32_t repeat = 0; repeat < 3; ++repeat) {
            addPlane(p, 200 + repeat, content, 2);
            execution.writeMask(p.segments);
            execution.computeMask();
            execution.poisonOutput();
            execution.forward();
            EXPECT_EQ(fault(p, solve(p), execution.read()), "");
        }
    }
}

TEST_P(Settings, OneUpdateServesTwoConvolutions) {
    Problem p = plain(30);
    Execution first(GetParam(), p);
    first.setWeights();
    first.computeMask();
    // Other channels, groups, data and layout under the same window.
    Problem q = makeProblem(2, 5, 3, {12, 13}, 3, 1, 1);
    fillUniform(q, 31);
    q.segments = p.segments;
    q.mask_batch = p.mask_batch;
    Execution second(GetParam(), q, {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 0});
    second.setWeights();
    second.computeMask();
    first.poisonOutput();
    second.poisonOutput();
    second.forwardWith(first.update());
    first.forward();
    EXPECT_EQ(fault(p, solve(p), first.read()), "");
    EXPECT_EQ(fault(q, solve(q), second.read()), "");
}

// Two layers: the updated mask of the first is the plane of the second, without a copy.
TEST_P(Settings, AnUpdatedMaskIsThePlaneOfTheNextMask) {
    for (const MaskContent content : {MaskContent::binary, MaskContent::fractions}) {
        Problem p = makeProblem(1, 4, 6, {15, 17}, 3, 2, 1);
        fillUniform(p, 32);
        addPlane(p, 33, content, 1);
        Execution first(GetParam(), p);
        first.setWeights();
        first.computeMask();

        Problem q = makeProblem(1, 6, 5, outputSize(p), 3, 1, 1);
        PconvPartialConvDesc desc = describe(q);
        desc.mask_type = p.mask_type;
        desc.implementation = GetParam().name.c_str();
        PconvMaskSegment segment{{}, 1};
        check(pconvGetMaskUpdateTensors(first.update(), nullptr, &segment.planes, nullptr));
        PconvMask mask = pconvDefaultMask();
        mask.segment_count = 1;
        mask.segments = &segment;
        OwnedMaskUpdate second;
        check(pconvCreateMaskUpdate(sharedDevice(GetParam().device_index), &desc, &mask, second.out()));
        check(pconvComputeMaskUpdate(second.get(), &mask));
        PconvTensor sum{};
        check(pconvGetMaskUpdateTensors(second.get(), &sum, nullptr, nullptr));
        const auto count = static_cast<size_t>(product(outputSize(q)));

        const Results results = first.read();
        q.mask_type = p.mask_type;
        q.segments = {{1, 1, results.updated_mask}};
        fillUniform(q, 34);
        const Answer answer = solve(q);
        const Verdict verdict = compare("window sum", answer.window_sum, windowSumBounds(q, answer),
                                        readBuffer<float>(sum.buffer, count, sum.offset));
        EXPECT_TRUE(verdict.within) << verdict.message;
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, Settings, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
