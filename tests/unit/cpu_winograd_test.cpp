// Convolutions of 3x3 windows with fast math on the CPU, which transforms them.
#include <cmath>

#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

class CpuWinograd : public ::testing::Test {
  protected:
    void SetUp() override {
        row_ = rowNamed("cpu:onednn");
        if (row_ == nullptr) GTEST_SKIP() << "no cpu:onednn in this build";
    }

    // A binary plane is added where the problem has no mask yet. That there are transforms is told by their
    // rounding.
    void expectConforming(Problem problem, PconvDataType type = PCONV_DATA_TYPE_F32,
                          const Placement& placement = {}) const {
        if (problem.input.empty()) fillUniform(problem, 3);
        if (problem.segments.empty() && problem.mask_type != PCONV_MASK_TYPE_NONE)
            addPlane(problem, 4, MaskContent::binary, problem.mask_batch);
        problem = inType(problem, type);
        problem.fast_math = false;
        const std::vector<float> exact = run(*row_, problem, placement).output;
        problem.fast_math = true;
        const Results fast = run(*row_, problem, placement);
        EXPECT_EQ(fault(problem, solve(problem), fast, unitsOf(type)), "");
        EXPECT_NE(fast.output, exact) << "nothing was transformed";
        EXPECT_EQ(run(*row_, problem, placement).output, fast.output) << "two calls differ";
    }

    const Row* row_ = nullptr;
};

// Every part of a tile at the right and below, rows of fewer tiles than vectors and of more than a box has.
TEST_F(CpuWinograd, Sizes) {
    for (const int64_t height : {16, 17, 18, 19, 33})
        for (const int64_t width : {16, 17, 18, 19, 70, 300})
            expectConforming(makeProblem(1, 8, 8, {height, width}, 3, 1, 1));
}

TEST_F(CpuWinograd, Channels) {
    for (const int64_t in : {8, 15, 17, 40})
        for (const int64_t out : {8, 9, 23, 64}) expectConforming(makeProblem(1, in, out, {24, 28}, 3, 1, 1));
}

// As many inputs and outputs as need several boxes, and parts of the outputs for each thread.
TEST_F(CpuWinograd, ManyChannels) {
    expectConforming(makeProblem(1, 160, 176, {16, 16}, 3, 1, 1));
    expectConforming(makeProblem(1, 300, 24, {40, 40}, 3, 1, 1));
}

TEST_F(CpuWinograd, Padding) {
    for (const int64_t padding : {0, 1, 2}) expectConforming(makeProblem(2, 8, 8, {22, 26}, 3, 1, padding));
    Problem uneven = makeProblem(1, 8, 8, {22, 26}, 3, 1, 0);
    uneven.padding = {2, 1};
    expectConforming(uneven);
}

TEST_F(CpuWinograd, GroupsAndBatches) {
    Problem problem = makeProblem(3, 32, 48, {21, 30}, 3, 1, 1);
    problem.groups = 4;
    expectConforming(problem);
    problem.mask_batch = 3;
    expectConforming(problem);
}

TEST_F(CpuWinograd, Volumes) {
    expectConforming(makeProblem(2, 8, 9, {5, 18, 20}, 3, 1, 1));
    Problem problem = makeProblem(1, 12, 16, {9, 18, 20}, 3, 1, 1);
    problem.groups = 2;
    problem.kernel = {5, 3, 3};
    problem.stride = {2, 1, 1};
    problem.dilation = {2, 1, 1};
    for (const int64_t padding : {0, 3, 9}) {  // the last beyond the window: slices of holes
        problem.padding = {padding, 1, 1};
        expectConforming(problem);
    }
}

TEST_F(CpuWinograd, MaskSettings) {
    Problem problem = makeProblem(1, 24, 32, {20, 24}, 3, 1, 1);
    fillUniform(problem, 3);
    addPlane(problem, 4, MaskContent::binary, 1);
    expectConforming(withPolarityFlipped(problem));
    problem.groups = 2;
    problem.weight.resize(problem.weight.size() / 2);
    problem.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    addSegments(problem, 4, MaskContent::binary, 1, {{1, 12}, {1, 12}});
    expectConforming(problem);
    removeMask(problem);
    problem.multi_channel = true;
    expectConforming(problem);
}

// Each group with a mask of its own: what is hole for one is valid for another.
TEST_F(CpuWinograd, WindowsOfGroups) {
    Problem problem = makeProblem(1, 16, 24, {24, 80}, 3, 1, 1, 1, 2);
    fillUniform(problem, 3);
    addSegments(problem, 4, MaskContent::binary, 1, {{2, 8}});
    problem.group_window = true;
    std::vector<float>& mask = problem.segments[0].values;
    for (size_t i = 0; i < mask.size(); ++i) mask[i] = (i % 80 < 40) == (i < mask.size() / 2) ? 1.0F : 0.0F;
    expectConforming(problem);
}

TEST_F(CpuWinograd, HalfPrecision) {
    expectConforming(makeProblem(1, 24, 20, {25, 37}, 3, 1, 1), PCONV_DATA_TYPE_F16);
    expectConforming(makeProblem(1, 24, 20, {25, 37}, 3, 1, 1), PCONV_DATA_TYPE_BF16);
}

TEST_F(CpuWinograd, ActivationsAndNoBias) {
    for (const PconvActivation activation :
         {PCONV_ACTIVATION_RELU, PCONV_ACTIVATION_LEAKY_RELU, PCONV_ACTIVATION_GELU}) {
        Problem problem = makeProblem(1, 16, 16, {20, 24}, 3, 1, 1);
        problem.activation = activation;
        expectConforming(problem);
    }
    Problem problem = makeProblem(1, 16, 16, {20, 24}, 3, 1, 1);
    problem.has_bias = false;
    expectConforming(problem);
}

// Views in wider tensors.
TEST_F(CpuWinograd, StridedTensors) {
    expectConforming(makeProblem(2, 9, 11, {20, 29}, 3, 1, 1), PCONV_DATA_TYPE_F32,
                     {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CONTIGUOUS, 3});
}

TEST_F(CpuWinograd, ChannelsLast) {
    constexpr Placement kLast{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 0};
    for (const PconvDataType type : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16}) {
        for (const int64_t channels : {16, 24, 37})
            expectConforming(makeProblem(2, channels, channels + 3, {18, 29}, 3, 1, 1), type, kLast);
        Problem problem = makeProblem(1, 18, 20, {18, 29}, 3, 1, 1);
        fillUniform(problem, 3);
        addSegments(problem, 4, MaskContent::binary, 1, {{1, 9}, {1, 9}});
        std::fill(problem.segments[0].values.begin(), problem.segments[0].values.end(), 1.0F);
        expectConforming(problem, type, kLast);
    }
    expectConforming(makeProblem(1, 18, 20, {18, 29}, 3, 1, 1), PCONV_DATA_TYPE_F32,
                     {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST, 0});
    expectConforming(makeProblem(1, 18, 20, {18, 29}, 3, 1, 1), PCONV_DATA_TYPE_F32,
                     {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CONTIGUOUS, 0});
}

TEST_F(CpuWinograd, WithoutMask) {
    Problem problem = makeProblem(2, 16, 24, {27, 35}, 3, 1, 1);
    fillUniform(problem, 3);
    removeMask(problem);
    expectConforming(problem);
}

// Runs of tiles that begin and end anywhere; some boxes are all hole, or everything is.
TEST_F(CpuWinograd, Holes) {
    for (const auto& [row, column, radius] :
         {std::array<double, 3>{40, 90, 30}, {0, 0, 50}, {70, 150, 11}, {40, 200, 400}}) {
        Problem problem = makeProblem(1, 24, 16, {90, 210}, 3, 1, 1);
        fillUniform(problem, 3);
        addPlane(problem, 4, MaskContent::binary, 1);
        for (const bool inside : {true, false}) {
            std::vector<float>& mask = problem.segments[0].values;
            for (size_t i = 0; i < mask.size(); ++i) {
                const double y = static_cast<double>(i / 210) - row;
                const double x = static_cast<double>(i % 210) - column;
                mask[i] = (std::hypot(x, y) < radius) == inside ? 1.0F : 0.0F;
            }
            problem.fast_math = true;
            EXPECT_TRUE(conforms(*row_, problem))
                << row << ", " << column << ", " << radius << ", " << inside;
        }
    }
}

// Planes for every channel and fractions, of which no window is nearly empty: their sums are large.
TEST_F(CpuWinograd, PlanesOfFractions) {
    Problem problem = makeProblem(1, 12, 16, {30, 36}, 3, 1, 1);
    fillUniform(problem, 3);
    addSegments(problem, 4, MaskContent::fractions, 1, {{2, 3}, {6, 1}});
    for (Segment& segment : problem.segments)
        for (float& value : segment.values) value = std::max(value, 0.25F);
    expectConforming(problem);
}

// One window with little of the input, beside large numbers: all is convolved without transforms.
TEST_F(CpuWinograd, SparseWindowsAreNotTransformed) {
    Problem problem = makeProblem(1, 16, 16, {30, 36}, 3, 1, 1);
    fillUniform(problem, 3);
    addSegments(problem, 4, MaskContent::binary, 1, {{16, 1}});
    std::vector<float>& mask = problem.segments[0].values;
    const size_t plane = 30 * 36;
    for (size_t i = 0; i < mask.size(); ++i) {
        const bool valid = i % 36 > 20 || (i / plane == 3 && i % plane == 5 * 36 + 18);
        mask[i] = valid ? 1.0F : 0.0F;
        if (i % 36 > 20) problem.input[i] *= 1e4F;
    }
    problem.fast_math = true;
    EXPECT_TRUE(conforms(*row_, problem));
    const std::vector<float> fast = run(*row_, problem).output;
    problem.fast_math = false;
    EXPECT_EQ(run(*row_, problem).output, fast);
}

// What of a tile lies beyond the tensor is nobody's data.
TEST_F(CpuWinograd, NothingIsReadBeyondTheInput) {
    Problem problem = makeProblem(1, 8, 8, {13, 17}, 3, 1, 0);
    fillUniform(problem, 3);
    for (float& value : problem.input) value = 1;
    for (float& value : problem.weight) value = 1;
    removeMask(problem);
    problem.fast_math = true;
    EXPECT_TRUE(conforms(*row_, problem));
}

}  // namespace
}  // namespace pconv::test
