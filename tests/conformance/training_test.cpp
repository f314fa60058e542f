// The backward pass in shapes that fill the tiles of matrix products, cut them and cut the sums over outputs.
#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

class Training : public ::testing::TestWithParam<Row> {
  protected:
    static void expectConforms(Problem problem) {
        std::mt19937 random(7);
        problem.grad_output.resize(static_cast<size_t>(product(outputDims(problem))));
        for (float& value : problem.grad_output)
            value = static_cast<float>(static_cast<int>(random() % 2001) - 1000) / 1024;
        std::string reason;
        if (!supports(GetParam(), problem, reason)) GTEST_SKIP() << reason;
        EXPECT_TRUE(conforms(GetParam(), problem));
        const Placement other{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 23};
        EXPECT_TRUE(conforms(GetParam(), problem, other)) << "channels last, spread";
    }
    static Problem withPlane(Problem problem, MaskContent content, int64_t mask_batch = 1) {
        fillUniform(problem, 1);
        addPlane(problem, 2, content, mask_batch);
        return problem;
    }
};

TEST_P(Training, ManyChannels) {
    expectConforms(withPlane(makeProblem(2, 40, 72, {9, 10}, 3, 1, 1), MaskContent::binary, 2));
    expectConforms(withPlane(makeProblem(1, 70, 66, {6, 7}, 1), MaskContent::fractions));
    expectConforms(withPlane(makeProblem(2, 36, 60, {9, 11}, 3, 1, 1, 1, 3), MaskContent::binary));
}

TEST_P(Training, StridesAndDilation) {
    expectConforms(withPlane(makeProblem(1, 24, 40, {21, 23}, 3, 2, 3, 2), MaskContent::binary));
    expectConforms(withPlane(makeProblem(2, 9, 17, {20, 19}, 4, 3, 2), MaskContent::fractions, 2));
    Problem uneven = makeProblem(1, 18, 20, {7, 12, 10}, 1);
    uneven.kernel = {1, 3, 5};
    uneven.stride = {2, 1, 3};
    uneven.padding = {0, 3, 2};
    uneven.dilation = {3, 2, 1};
    expectConforms(withPlane(uneven, MaskContent::binary));
    // Most inputs are reached by no window.
    expectConforms(withPlane(makeProblem(1, 10, 12, {17, 18}, 2, 5), MaskContent::binary));
}

TEST_P(Training, Volumes) {
    expectConforms(withPlane(makeProblem(2, 12, 20, {5, 7, 8}, 3, 2, 1), MaskContent::fractions));
    expectConforms(withPlane(makeProblem(1, 17, 9, {4, 6, 9}, 3, 1, 1), MaskContent::binary));
}

TEST_P(Training, MasksOfManyChannels) {
    for (const MaskContent content : {MaskContent::binary, MaskContent::fractions}) {
        Problem p = makeProblem(2, 20, 24, {11, 13}, 3, 1, 1);
        fillUniform(p, 3);
        addSegments(p, 4, content, 2, {{20, 1}});
        expectConforms(p);
        addSegments(p, 5, content, 1, {{1, 7}, {2, 3}, {1, 7}});
        expectConforms(p);
        Problem grouped = makeProblem(2, 36, 20, {9, 8}, 3, 2, 1, 1, 2);
        fillUniform(grouped, 6);
        addSegments(grouped, 7, content, 2, {{6, 6}});
        grouped.group_window = true;
        expectConforms(grouped);
    }
}

// More outputs than weights: sums that are made in parts.
TEST_P(Training, LongSums) {
    expectConforms(withPlane(makeProblem(3, 10, 18, {701}, 5, 1, 2), MaskContent::binary, 3));
    expectConforms(withPlane(makeProblem(2, 6, 9, {40, 37}, 3, 1, 1), MaskContent::fractions));
    expectConforms(withPlane(makeProblem(1, 3, 34, {70, 64}, 5, 2, 2), MaskContent::binary));
}

// Whole tiles are holes, of inputs and of outputs.
TEST_P(Training, LargeHoles) {
    for (const int64_t stride : {1, 2}) {
        Problem p = makeProblem(1, 20, 18, {24, 41}, 3, stride, 1);
        fillUniform(p, 8);
        addPlane(p, 9, MaskContent::binary, 1);
        std::vector<float>& mask = p.segments[0].values;
        for (size_t i = 0; i < mask.size(); ++i) mask[i] = i < 3 * mask.size() / 4 ? 0.0F : 1.0F;
        expectConforms(p);
        p.segments[0].values.assign(mask.size(), 0.0F);
        expectConforms(p);
    }
}

TEST_P(Training, HalfPrecision) {
    const Problem p = withPlane(makeProblem(2, 20, 36, {10, 9}, 3, 1, 1), MaskContent::binary, 2);
    for (const PconvDataType type : {PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16})
        expectConforms(inType(p, type));
}

INSTANTIATE_TEST_SUITE_P(Rows, Training, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
