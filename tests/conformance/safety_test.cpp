// What must hold whatever the numbers: holes are never read into the arithmetic, nothing outside the output
// is written, and two runs give the same bits.
#include <cmath>
#include <limits>

#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();

const Placement kPlacements[] = {{PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CONTIGUOUS, 0},
                                 {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 0},
                                 {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST, 21}};

bool sameBits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), 4 * a.size()) == 0;
}

class Safety : public ::testing::TestWithParam<Row> {
  protected:
    // The output is the same, bit for bit, whatever lies in the holes.
    void expectHolesUnread(Problem problem) {
        for (const Placement& placement : kPlacements) {
            fillHoles(problem, 0);
            const std::vector<float> clean = run(GetParam(), problem, placement).output;
            for (const float value : {kNan, kInfinity, -kInfinity, kLargest}) {
                fillHoles(problem, value);
                const Results got = run(GetParam(), problem, placement);
                EXPECT_EQ(got.damage, "");
                EXPECT_TRUE(sameBits(got.output, clean)) << "with " << value << " in the holes";
            }
        }
    }
};

TEST_P(Safety, HolesOfOnePlaneAreNotRead) {
    Problem p = makeProblem(2, 5, 6, {14, 17}, 3, 1, 1);
    fillUniform(p, 1);
    addPlane(p, 2, MaskContent::binary, 2);
    expectHolesUnread(p);
    p.polarity = PCONV_MASK_HOLE_IS_ONE;
    expectHolesUnread(p);
}

TEST_P(Safety, HolesOfAFractionalMaskAreNotRead) {
    Problem p = makeProblem(1, 5, 6, {14, 17}, 3, 1, 1);
    fillUniform(p, 3);
    addPlane(p, 4, MaskContent::fractions, 1);
    expectHolesUnread(p);
    p.polarity = PCONV_MASK_HOLE_IS_ONE;
    expectHolesUnread(p);
}

TEST_P(Safety, HolesOfEveryChannelAreNotRead) {
    Problem p = makeProblem(2, 6, 8, {11, 12}, 5, 2, 2, 1, 2);
    fillUniform(p, 5);
    addSegments(p, 6, MaskContent::binary, 2, {{2, 1}, {1, 3}, {1, 1}});
    expectHolesUnread(p);
    p.group_window = true;
    addSegments(p, 7, MaskContent::fractions, 1, {{6, 1}});
    expectHolesUnread(p);
}

TEST_P(Safety, HolesOfAPointwiseKernelAreNotRead) {
    Problem p = makeProblem(1, 16, 8, {9, 13}, 1);
    fillUniform(p, 8);
    addPlane(p, 9, MaskContent::binary, 1);
    expectHolesUnread(p);
}

TEST_P(Safety, HolesInOneAndThreeDimensionsAreNotRead) {
    Problem p = makeProblem(2, 3, 4, {45}, 3, 1, 1);
    fillUniform(p, 10);
    addPlane(p, 11, MaskContent::binary, 2);
    expectHolesUnread(p);
    p = makeProblem(1, 3, 4, {6, 7, 8}, 3, 1, 1);
    fillUniform(p, 12);
    addPlane(p, 13, MaskContent::binary, 1);
    expectHolesUnread(p);
}

TEST_P(Safety, HolesAreNotReadWithFastMath) {
    Problem p = makeProblem(1, 16, 16, {20, 24}, 3, 1, 1);
    p.fast_math = true;
    fillUniform(p, 14);
    addPlane(p, 15, MaskContent::binary, 1);
    expectHolesUnread(p);
}

// A value that is not a number reaches the outputs whose windows hold it, and no other: what pads a tile or a
// block of channels is not data.
TEST_P(Safety, ANanInValidDataStaysInItsWindows) {
    Problem p = makeProblem(1, 5, 7, {19, 21}, 3, 1, 1);
    fillUniform(p, 16);
    removeMask(p);
    const std::vector<float> clean = run(GetParam(), p).output;
    p.input[2 * 19 * 21 + 9 * 21 + 20] = kNan;  // channel 2, row 9, the last column
    for (const Placement& placement : kPlacements) {
        const Results got = run(GetParam(), p, placement);
        size_t wrong = 0;
        for (size_t i = 0; i < got.output.size(); ++i) {
            const size_t y = i / 21 % 19;
            const size_t x = i % 21;
            const bool hit = y >= 8 && y <= 10 && x >= 19;
            if (std::isnan(got.output[i]) != hit) ++wrong;
            if (!hit && placement.spread == 0 && placement.input_layout == PCONV_LAYOUT_CONTIGUOUS &&
                got.output[i] != clean[i])
                ++wrong;
        }
        EXPECT_EQ(wrong, 0U);
    }
}

TEST_P(Safety, AnAllHoleMaskGivesExactlyZero) {
    for (const PconvNormalization normalization :
         {PCONV_NORMALIZATION_WINDOW_RATIO, PCONV_NORMALIZATION_MASK_SUM})
        for (const auto& [eps, activation] : {std::pair{0.0, PCONV_ACTIVATION_LEAKY_RELU},
                                              {1e-8, PCONV_ACTIVATION_LEAKY_RELU},
                                              {1e-8, PCONV_ACTIVATION_GELU}}) {
            Problem p = makeProblem(2, 4, 5, {10, 11}, 3, 1, 1);
            p.normalization = normalization;
            p.eps = eps;
            p.activation = activation;
            fillUniform(p, 17);
            addPlane(p, 18, MaskContent::binary, 1);
            p.segments[0].values.assign(110, 0);
            fillHoles(p, kNan);
            const Results got = run(GetParam(), p);
            EXPECT_EQ(got.damage, "");
            for (const auto* values : {&got.output, &got.window_sum, &got.updated_mask, &got.ratio})
                for (const float value : *values) ASSERT_EQ(value, 0.0F);
        }
}

TEST_P(Safety, ADegenerateShapeIsLikeAnyOther) {
    for (const int dims : {1, 2, 3}) {
        Problem p = makeProblem(1, 1, 1, std::vector<int64_t>(static_cast<size_t>(dims), 1), 1);
        fillUniform(p, 19);
        addPlane(p, 20, MaskContent::binary, 1);
        p.segments[0].values[0] = 1;
        EXPECT_TRUE(conforms(GetParam(), p)) << dims << " dimensions";
        p.kernel.assign(p.kernel.size(), 3);
        p.padding.assign(p.padding.size(), 4);
        p.stride.assign(p.stride.size(), 2);
        fillUniform(p, 21);
        EXPECT_TRUE(conforms(GetParam(), p)) << dims << " dimensions, padded";
    }
}

TEST_P(Safety, TwoRunsGiveTheSameBits) {
    Problem p = makeProblem(2, 17, 19, {23, 29}, 3, 1, 1);
    fillUniform(p, 22);
    addPlane(p, 23, MaskContent::fractions, 2);
    const Placement placement{PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST, 0};
    const Results first = run(GetParam(), p, placement);
    Execution again(GetParam(), p, placement);
    again.setWeights();
    for (int repeat = 0; repeat < 3; ++repeat) {
        again.computeMask();
        again.poisonOutput();
        again.forward();
        const Results got = again.read();
        EXPECT_TRUE(sameBits(got.output, first.output));
        EXPECT_TRUE(sameBits(got.window_sum, first.window_sum));
        EXPECT_TRUE(sameBits(got.updated_mask, first.updated_mask));
        EXPECT_TRUE(sameBits(got.ratio, first.ratio));
    }
}

INSTANTIATE_TEST_SUITE_P(Rows, Safety, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
