// Convolutions to few output channels on the CPU, which has a kernel of its own for them.
#include <algorithm>
#include <cmath>
#include <ctime>

#include "conformance/builder.h"
#include "conformance/verify.h"
#include "pconv/pconv.hpp"

namespace pconv::test {
namespace {

class CpuDirect : public ::testing::Test {
  protected:
    void SetUp() override {
        const auto& rows = allRows();
        const auto row =
            std::find_if(rows.begin(), rows.end(), [](const Row& r) { return r.name == "cpu:onednn"; });
        if (row == rows.end()) GTEST_SKIP() << "no cpu:onednn in this build";
        row_ = &*row;
    }

    void expectConforming(Problem problem, PconvDataType type = PCONV_DATA_TYPE_F32) const {
        fillUniform(problem, 3);
        addPlane(problem, 4, MaskContent::binary, problem.mask_batch);
        EXPECT_TRUE(conforms(*row_, inType(problem, type)));
    }

    const Row* row_ = nullptr;
};

// Every number of vectors that a stretch of a row has, and parts of one; more columns than a box has.
TEST_F(CpuDirect, WidthsAndOutputs) {
    for (int64_t out = 1; out <= 4; ++out)
        for (const int64_t width : {1, 3, 16, 17, 47, 64, 127, 130, 300, 515})
            expectConforming(makeProblem(1, 3, out, {5, width}, 3, 1, 1));
}

TEST_F(CpuDirect, Windows) {
    for (const int64_t kernel : {1, 3, 5, 7})
        for (const int64_t padding : {int64_t{0}, kernel / 2, kernel - 1})
            expectConforming(makeProblem(2, 5, 3, {19, 40}, kernel, 1, padding));
    expectConforming(makeProblem(1, 5, 3, {19, 40}, 3, 1, 4, 2));
    // Rows of windows in the padding alone, which are left to oneDNN.
    expectConforming(makeProblem(1, 5, 3, {19, 40}, 3, 1, 5));
}

TEST_F(CpuDirect, StridedRowsAndVolumes) {
    Problem strided = makeProblem(1, 4, 2, {41, 40}, 5, 1, 2);
    strided.stride = {3, 1};
    expectConforming(strided);
    expectConforming(makeProblem(1, 4, 3, {6, 9, 20}, 3, 1, 1));
    expectConforming(makeProblem(2, 4, 3, {70}, 3, 1, 1));
}

TEST_F(CpuDirect, HalfPrecision) {
    expectConforming(makeProblem(1, 20, 3, {33, 70}, 3, 1, 1), PCONV_DATA_TYPE_F16);
    expectConforming(makeProblem(1, 20, 3, {33, 70}, 3, 1, 1), PCONV_DATA_TYPE_BF16);
}

// Sums of one sign, which grow with every product, so that each rounds the most.
TEST_F(CpuDirect, LongSums) {
    Problem problem = makeProblem(1, 700, 2, {9, 33}, 7, 1, 3);
    fillUniform(problem, 3);
    addPlane(problem, 4, MaskContent::binary, 1);
    for (float& value : problem.input) value = std::abs(value);
    for (float& value : problem.weight) value = std::abs(value);
    EXPECT_TRUE(conforms(*row_, problem));
}

// Parts of rows, whole boxes and everything are holes.
TEST_F(CpuDirect, Holes) {
    for (const int64_t valid : {0, 1, 90, 200, 310}) {
        Problem problem = makeProblem(1, 8, 3, {90, 310}, 3, 1, 1);
        fillUniform(problem, 3);
        addPlane(problem, 4, MaskContent::binary, 1);
        std::vector<float>& mask = problem.segments[0].values;
        for (size_t i = 0; i < mask.size(); ++i)
            mask[i] = static_cast<int64_t>(i % 310) < valid && i / 310 > 40 ? 1.0F : 0.0F;
        EXPECT_TRUE(conforms(*row_, problem)) << valid << " columns valid";
    }
}

TEST_F(CpuDirect, PlaneForEveryChannelOfFractions) {
    Problem problem = makeProblem(1, 8, 3, {30, 70}, 3, 1, 1);
    fillUniform(problem, 3);
    addSegments(problem, 4, MaskContent::fractions, 1, {{2, 3}, {2, 1}});
    EXPECT_TRUE(conforms(*row_, problem));
}

// A descriptor for training has oneDNN's forward pass, which is what this one is chosen in place of.
TEST_F(CpuDirect, TakesNoLongerThanOneDnnWhereChosen) {
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
    GTEST_SKIP() << "our kernel is not built as fast as oneDNN's";
#endif
    struct Shape {
        int64_t in, out;
        std::vector<int64_t> size;
        int64_t kernel;
    };
    const Device cpu("cpu");
    for (const Shape& shape :
         {Shape{64, 3, {128, 128}, 3}, Shape{64, 1, {128, 128}, 3}, Shape{64, 4, {128, 128}, 3},
          Shape{3, 3, {256, 256}, 7}, Shape{256, 4, {16, 16}, 3}, Shape{64, 2, {64, 64}, 5},
          Shape{64, 3, {128, 128}, 1}, Shape{16, 3, {8, 32, 32}, 3}}) {
        std::vector<int64_t> input{1, shape.in}, output{1, shape.out}, weight{shape.out, shape.in};
        std::vector<int64_t> plane{1, 1};
        int64_t pixels = 1;
        for (const int64_t size : shape.size) {
            input.push_back(size);
            output.push_back(size);
            plane.push_back(size);
            weight.push_back(shape.kernel);
            pixels *= size;
        }
        const Tensor x(cpu, input), y(cpu, output), w(cpu, weight), b(cpu, {shape.out});
        const Tensor planes(cpu, plane, std::vector<uint8_t>(static_cast<size_t>(pixels), 1));
        const Mask mask(planes.view());
        double least[2] = {1e30, 1e30};
        for (int training = 0; training < 2; ++training) {
            auto desc = PartialConvDesc::same(1, shape.in, shape.out, shape.size, shape.kernel);
            desc.training = training;
            const PartialConv conv(cpu, desc);
            const MaskUpdate update(cpu, desc, mask);
            conv.setWeights(w.view(), b.view());
            for (int call = 0; call < 7; ++call) {
                const std::clock_t begin = std::clock();
                conv.forward(update, x.view(), y.view());
                least[training] = std::min(least[training], static_cast<double>(std::clock() - begin));
            }
        }
        constexpr double kClock = 100e-6 * CLOCKS_PER_SEC;
        EXPECT_LE(least[0], least[1] + kClock)
            << shape.in << " to " << shape.out << " channels, window " << shape.kernel;
    }
}

}  // namespace
}  // namespace pconv::test
