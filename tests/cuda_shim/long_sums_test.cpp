// Sums of many products of one sign, which tensor cores would make smaller by a bit a step: what cuda:igemm
// gives is as near to them as the contract says. Without splitting the sums, each of these is wrong by 50 to
// 1,000 units.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cuda/kernels/ptx.cuh"
#include "kernel_case.h"

namespace pconv::cuda {
namespace {

constexpr int kDepth = 1152;  // 128 channels under a window of 3 x 3
constexpr double kUnit = 0x1p-24;
constexpr double kAllowed = 16;  // units of the sum of magnitudes

// Numbers in [1/2, 1] that f16 and TF32, or bf16, hold exactly.
std::vector<float> positive(int count, uint32_t seed, DataType type) {
    std::mt19937 random(seed);
    const uint32_t half = type == DataType::bf16 ? 128 : 1024;
    std::vector<float> numbers(static_cast<size_t>(count));
    for (float& number : numbers)
        number = static_cast<float>(half + random() % half) / static_cast<float>(2 * half);
    return numbers;
}

// A layer whose forward pass, input's gradient or weight's gradient adds `kDepth` products.
KernelCase longSums(int batch, int in, int out, int pixels, DataType type) {
    KernelCase c;
    c.shape.batch = batch;
    c.shape.in_channels = in;
    c.shape.out_channels = out;
    c.shape.groups = 1;
    for (int d = 0; d < 3; ++d) {
        c.shape.input[d] = d == 2 ? pixels : 1;
        c.shape.kernel[d] = c.shape.stride[d] = c.shape.dilation[d] = 1;
        c.shape.padding[d] = 0;
    }
    setOutput(c.shape);
    c.shape.multiprocessors = 1;  // nothing is cut
    c.type = type;
    c.fast_math = true;
    c.mask_type = MaskType::none;
    c.has_bias = false;
    c.input_channels_last = c.output_channels_last = true;
    c.input = positive(batch * in * pixels, 1, type);
    c.weight = positive(in * out, 2, type);
    c.grad_output = positive(batch * out * pixels, 3, type);
    c.bias.assign(static_cast<size_t>(out), 0);
    return c;
}

// The largest error, in units of the sums, which are all positive.
double worst(const Expected& expected, const std::vector<float>& got) {
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i)
        worst =
            std::max(worst, std::fabs(static_cast<double>(got[i]) - expected.values[i]) / expected.values[i]);
    return worst / kUnit;
}

TEST(LongSums, OfTf32AreAsOfF32) {
    const KernelCase forward = longSums(1, kDepth, 64, 16, DataType::f32);
    EXPECT_LT(worst(solve(forward, 0, {}).output, run(forward, Algorithm::igemm, {}).output), kAllowed);
    const KernelCase backward = longSums(1, 64, kDepth, 16, DataType::f32);
    EXPECT_LT(worst(solve(backward, 0, {}).grad_input, run(backward, Algorithm::igemm, {}).grad_input),
              kAllowed);
    const KernelCase weight = longSums(2, 16, 16, kDepth / 2, DataType::f32);
    EXPECT_LT(worst(solve(weight, 0, {}).grad_weight, run(weight, Algorithm::igemm, {}).grad_weight),
              kAllowed);
}

// 16-bit outputs would hide it: the bias takes off what the sum should be.
TEST(LongSums, Of16BitNumbersAreAsOfF32) {
    for (const DataType type : {DataType::f16, DataType::bf16}) {
        KernelCase c = longSums(1, kDepth, 64, 1, type);
        const std::vector<double> sums = solve(c, 0, {}).output.values;
        c.has_bias = true;
        for (size_t i = 0; i < sums.size(); ++i) c.bias[i] = rounded(static_cast<float>(-sums[i]), type);
        const Answers expected = solve(c, 0, {});
        const std::vector<float> got = run(c, Algorithm::igemm, {}).output;
        for (size_t i = 0; i < sums.size(); ++i)
            EXPECT_LE(std::fabs(static_cast<double>(got[i]) - expected.output.values[i]),
                      expected.output.bounds[i]);
    }
}

// Gradients are added to what takes off what they should be, for the same reason. What is left, half a place
// of the type at most, is rounded to it again: bounds are up to 24 units of a sum in f16 and 276 in bf16, of
// which sums are longer, so that what a tensor core alone loses is more.
TEST(LongSums, GradientsOf16BitNumbersAreAsOfF32) {
    for (const DataType type : {DataType::f16, DataType::bf16}) {
        const double units = type == DataType::f16 ? 24 : 276;
        const int depth = type == DataType::f16 ? kDepth : 4 * kDepth;
        const auto expectNear = [&](KernelCase c, Expected Answers::*expected,
                                    std::vector<float> Results::*answer) {
            std::vector<float> previous;
            const Answers sums = solve(c, 0, {});
            for (const double sum : (sums.*expected).values)
                previous.push_back(rounded(static_cast<float>(-sum), type));
            c.accumulate = true;
            const Answers answers = solve(c, 0, previous);
            const Expected& wanted = answers.*expected;
            const Results results = run(c, Algorithm::igemm, previous);
            const std::vector<float>& got = results.*answer;
            ASSERT_EQ(got.size(), previous.size());
            for (size_t i = 0; i < got.size(); ++i) {
                EXPECT_LE(std::fabs(static_cast<double>(got[i]) - wanted.values[i]), wanted.bounds[i]);
                EXPECT_LE(wanted.bounds[i], units * kUnit * std::fabs(static_cast<double>(previous[i])));
            }
        };
        expectNear(longSums(1, 32, depth, 8, type), &Answers::grad_input, &Results::grad_input);
        expectNear(longSums(2, 16, 16, depth / 2, type), &Answers::grad_weight, &Results::grad_weight);
    }
}

// The truncation that this is about is in the model: a chain of all of it is far off.
TEST(LongSums, OfATensorCoreAloneAreNot) {
    const std::vector<float> a = positive(kDepth, 4, DataType::f16);
    const std::vector<float> b = positive(kDepth, 5, DataType::f16);
    double exact = 0;
    for (size_t i = 0; i < a.size(); ++i) exact += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    for (const on_cpu::TensorCore& core : {on_cpu::kAmpere, on_cpu::kHopper}) {
        const auto off = [&](float sum) { return (exact - static_cast<double>(sum)) / exact / kUnit; };
        EXPECT_GT(off(on_cpu::addProducts<F16>(core, 0, a.data(), b.data(), kDepth)), 4 * kAllowed);
        EXPECT_GT(off(on_cpu::addProducts<float>(core, 0, a.data(), b.data(), kDepth)), 4 * kAllowed);
    }
}

}  // namespace
}  // namespace pconv::cuda
