// Every size from 1 to 67, so that each tile, vector and block of every row has remainders of every kind.
#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

constexpr int64_t kLargest = 67;

class Sizes : public ::testing::TestWithParam<Row> {
  protected:
    void expectConforms(Problem problem, int64_t seed) {
        fillUniform(problem, static_cast<uint32_t>(seed));
        addPlane(problem, static_cast<uint32_t>(1000 + seed), MaskContent::binary, problem.batch);
        const PconvLayout layouts[] = {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST};
        const Placement placement{layouts[seed % 2], layouts[seed / 2 % 2],
                                  seed % 3 == 0 ? static_cast<uint32_t>(seed) : 0};
        EXPECT_TRUE(conforms(GetParam(), problem, placement)) << "size " << seed;
    }
};

TEST_P(Sizes, OfImages) {
    for (int64_t size = 1; size <= kLargest; ++size)
        expectConforms(makeProblem(1, 3, 5, {size, kLargest + 1 - size}, 3, 1, 1), size);
}

TEST_P(Sizes, OfImagesUnderAStride) {
    for (int64_t size = 1; size <= kLargest; ++size)
        expectConforms(makeProblem(1, 2, 3, {kLargest + 1 - size, size}, 5, 2, 2), size);
}

TEST_P(Sizes, OfSignals) {
    for (int64_t size = 1; size <= kLargest; ++size)
        expectConforms(makeProblem(2, 3, 4, {size}, 3, 1, 1), size);
}

TEST_P(Sizes, OfInputChannels) {
    for (int64_t size = 1; size <= kLargest; ++size)
        expectConforms(makeProblem(1, size, 3, {6, 7}, 3, 1, 1), size);
}

TEST_P(Sizes, OfOutputChannels) {
    for (int64_t size = 1; size <= kLargest; ++size)
        expectConforms(makeProblem(1, 3, size, {6, 7}, 3, 1, 1), size);
}

TEST_P(Sizes, OfVolumes) {
    for (int64_t size = 1; size <= 17; ++size)
        expectConforms(makeProblem(1, 2, 3, {size, 18 - size, 1 + size / 2}, 3, 1, 1), size);
}

TEST_P(Sizes, OfKernels) {
    for (int64_t size = 1; size <= 12; ++size)
        expectConforms(makeProblem(1, 2, 3, {15, 13}, size, 1, size / 2), size);
}

INSTANTIATE_TEST_SUITE_P(Rows, Sizes, ::testing::ValuesIn(allRows()),
                         [](const auto& test) { return testName(test.param); });

}  // namespace
}  // namespace pconv::test
