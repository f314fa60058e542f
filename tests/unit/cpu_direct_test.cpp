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
        row_ = rowNamed("cpu:onednn");
        if (row_ == nullptr) GTEST_SKIP() << "no cpu:onednn in this build";
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

struct Shape {
    int64_t batch, in, out;
    std::vector<int64_t> size, kernel;
    int64_t dilation = 1;
    bool padded = true;

    friend std::ostream& operator<<(std::ostream& stream, const Shape& shape) {
        stream << shape.batch << " x " << shape.in << " channels to " << shape.out << ", of";
        for (const int64_t size : shape.size) stream << ' ' << size;
        stream << ", window";
        for (const int64_t kernel : shape.kernel) stream << ' ' << kernel;
        return stream << ", dilation " << shape.dilation;
    }
};

// Processor time of a forward pass in parts of oneDNN's, which a descriptor for training has: the middle one
// of passes that alternate, since the clock's rate changes and other programs take cache.
double shareOfOneDnn(const Shape& shape) {
    const Device cpu("cpu");
    std::vector<int64_t> input{shape.batch, shape.in}, output{shape.batch, shape.out};
    std::vector<int64_t> weight{shape.out, shape.in}, plane{1, 1};
    int64_t pixels = 1;
    auto desc = PartialConvDesc::same(shape.batch, shape.in, shape.out, shape.size, 1);
    for (size_t d = 0; d < shape.size.size(); ++d) {
        const int64_t reach = (shape.kernel[d] - 1) * shape.dilation;
        desc.kernel[d] = shape.kernel[d];
        desc.dilation[d] = shape.dilation;
        desc.padding[d] = shape.padded ? reach / 2 : 0;
        input.push_back(shape.size[d]);
        output.push_back(shape.size[d] + 2 * desc.padding[d] - reach);
        plane.push_back(shape.size[d]);
        weight.push_back(shape.kernel[d]);
        pixels *= shape.size[d];
    }
    const Tensor x(cpu, input), y(cpu, output), w(cpu, weight), b(cpu, {shape.out});
    const Tensor planes(cpu, plane, std::vector<uint8_t>(static_cast<size_t>(pixels), 1));
    const Mask mask(planes.view());
    const auto made = [&](bool training) {
        desc.training = training ? 1 : 0;
        PartialConv conv(cpu, desc);
        conv.setWeights(w.view(), b.view());
        return std::make_pair(std::move(conv), MaskUpdate(cpu, desc, mask));
    };
    const auto chosen = made(false), onednn = made(true);
    const auto timed = [&](const auto& layer) {
        const std::clock_t begin = std::clock();
        layer.first.forward(layer.second, x.view(), y.view());
        return static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
    };
    std::vector<double> shares;
    for (int round = 0; round < 9; ++round) {
        const double time = timed(chosen);
        shares.push_back(time / timed(onednn));
    }
    std::sort(shares.begin(), shares.end());
    return shares[shares.size() / 2];
}

// A machine that does much else gets a second and a third chance.
double shareOfOneDnn(const Shape& shape, double most) {
    double share = shareOfOneDnn(shape);
    for (int again = 0; again < 2 && share > most; ++again) share = std::min(share, shareOfOneDnn(shape));
    return share;
}

TEST_F(CpuDirect, TakesNoLongerThanOneDnn) {
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
    GTEST_SKIP() << "times of our kernel mean nothing without optimization or under a sanitizer";
#endif
    const Shape shapes[] = {
        {1, 64, 1, {128, 128}, {3, 3}},
        {1, 64, 4, {128, 128}, {3, 3}},
        {1, 3, 3, {256, 256}, {7, 7}},
        {1, 256, 4, {16, 16}, {3, 3}},
        {1, 64, 2, {64, 64}, {5, 5}},
        {1, 64, 3, {128, 128}, {1, 1}},
        {1, 16, 3, {8, 32, 32}, {3, 3, 3}},
        {1, 64, 3, {512, 24}, {3, 3}},
        {1, 64, 3, {128, 128}, {3, 3}, 8},
        // Left to oneDNN: short rows, and taps far apart.
        {1, 64, 3, {512, 2}, {3, 3}},
        {1, 64, 3, {512, 8}, {3, 3}},
        {32, 512, 1, {7, 7}, {7, 7}, 1, false},
        {1, 64, 3, {128, 128}, {3, 3}, 32},
        {1, 16, 3, {32, 64, 64}, {3, 1, 1}, 8},
        {1, 64, 1, {8192}, {3}, 1024},
    };
    for (const Shape& shape : shapes) {
        // Where both are oneDNN's they differ by chance.
        constexpr double kMost = 1.25;
        const double share = shareOfOneDnn(shape, kMost);
        EXPECT_LE(share, kMost) << shape;
    }
}

TEST_F(CpuDirect, TakesLessWhereItPaysMost) {
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
    GTEST_SKIP() << "times of our kernel mean nothing without optimization or under a sanitizer";
#endif
    EXPECT_LT(shareOfOneDnn({1, 64, 3, {128, 128}, {3, 3}}, 0.7), 0.7);
}

}  // namespace
}  // namespace pconv::test
