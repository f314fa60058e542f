// What cuda:igemm leaves out: blocks of outputs and of the input's gradient that lie in holes, and stages of
// the weight's gradient. Counted in products of a warp, and held to the oracle.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "cuda_shim.h"
#include "kernel_case.h"

namespace pconv::cuda {
namespace {

constexpr int kRows = 128;  // of a block

struct Products {
    uint64_t forward, input_gradient, weight_gradient;
};

Products productsOf(const KernelCase& c) {
    std::vector<uint64_t> launches;
    const std::vector<float> previous{0.5F};
    cuda_shim::recordProducts(&launches);
    run(c, Algorithm::igemm, previous);
    cuda_shim::recordProducts(nullptr);
    // The launches with products, in their order; none of the passes here leaves out all of them.
    std::vector<uint64_t> passes;
    for (const uint64_t products : launches)
        if (products > 0) passes.push_back(products);
    EXPECT_EQ(passes.size(), 3U);
    passes.resize(3);
    return {passes[0], passes[1], passes[2]};
}

// A line of `size` under windows that do not overlap. planes: for each plane which blocks of rows are valid.
struct Form {
    int stride = 1;
    int in_channels = 16;
    std::vector<std::vector<int>> planes;
    DataType type = DataType::f16;
    bool gradient_channels_last = false, accumulate = false, input_is_masked = false, fractional = false;
    Normalization normalization = Normalization::window_ratio;
};

KernelCase caseOf(const Form& form) {
    KernelCase c;
    const auto blocks = static_cast<int>(form.planes[0].size());
    const int rows = blocks * kRows;
    const int size = rows * form.stride;
    const auto planes = static_cast<int>(form.planes.size());
    c.shape = {1,         form.in_channels, 16, 1, {1, 1, size}, {1, 1, form.stride}, {1, 1, form.stride},
               {0, 0, 0}, {1, 1, 1},        {}};
    setOutput(c.shape);
    c.type = form.type;
    c.fast_math = true;
    c.mask_type = form.fractional ? MaskType::fractional : MaskType::binary;
    c.multi_channel = planes > 1 || form.normalization == Normalization::weight_magnitude;
    c.normalization = form.normalization;
    c.input_is_masked = form.input_is_masked;
    c.accumulate = form.accumulate;
    c.input_channels_last = !form.gradient_channels_last;
    c.output_channels_last = true;
    c.gap = 8;
    CaseSegment segment{planes, form.in_channels / planes, {}};
    for (const std::vector<int>& plane : form.planes)
        for (int i = 0; i < size; ++i)
            segment.values.push_back(static_cast<float>(plane[static_cast<size_t>(i / form.stride / kRows)]) *
                                     (form.fractional ? 0.5F : 1));
    c.segments.push_back(std::move(segment));

    std::mt19937 random(1);
    const auto numbers = [&](int count) {
        std::vector<float> values(static_cast<size_t>(count));
        for (float& value : values)
            value = rounded(static_cast<float>(random() % 2001) / 1000.0F - 1, form.type);
        return values;
    };
    c.input = numbers(form.in_channels * size);
    for (int channel = 0; channel < form.in_channels; ++channel)
        for (int i = 0; i < size; ++i)
            if (c.maskAt(0, channel, i) == 0 && form.normalization != Normalization::weight_magnitude)
                c.input[static_cast<size_t>(channel * size + i)] = form.input_is_masked ? 0 : std::nanf("");
    c.weight = numbers(16 * form.in_channels * form.stride);
    c.bias = numbers(16);
    c.grad_output = numbers(16 * rows);
    return c;
}

Form allValid(Form form) {
    for (std::vector<int>& plane : form.planes) plane.assign(plane.size(), 1);
    return form;
}

void expectRight(const Form& form) {
    int ran = 0;
    EXPECT_EQ(check(caseOf(form), ran), "");
    EXPECT_EQ(ran, 2);
}

class HoleTiles : public testing::TestWithParam<DataType> {};

TEST_P(HoleTiles, MakeNoProducts) {
    for (const bool accumulate : {false, true})
        for (const bool input_is_masked : {false, true})
            for (const bool fractional : {false, true}) {
                Form form;
                form.planes = {{1, 0, 0, 1}};
                form.type = GetParam();
                form.accumulate = accumulate;
                form.input_is_masked = input_is_masked;
                form.fractional = fractional;
                form.gradient_channels_last = accumulate != input_is_masked;
                expectRight(form);
                const Products holes = productsOf(caseOf(form));
                const Products all = productsOf(caseOf(allValid(form)));
                EXPECT_EQ(holes.forward * 2, all.forward);
                EXPECT_EQ(holes.input_gradient * 2, all.input_gradient);
                EXPECT_EQ(holes.weight_gradient * 2, all.weight_gradient);
            }
}

// The positions of one remainder by the stride are a product of their own.
TEST_P(HoleTiles, OfAStridedConvolutionMakeNoProducts) {
    Form form;
    form.stride = 2;
    form.planes = {{0, 1, 0}};
    form.type = GetParam();
    expectRight(form);
    const Products holes = productsOf(caseOf(form));
    const Products all = productsOf(caseOf(allValid(form)));
    EXPECT_EQ(holes.forward * 3, all.forward);
    EXPECT_EQ(holes.input_gradient * 3, all.input_gradient);
    EXPECT_EQ(holes.weight_gradient * 3, all.weight_gradient);
}

// A block's channels may have several planes: it is left out where all of them are holes. Outputs see all
// channels.
TEST_P(HoleTiles, AreOfTheBlocksOwnChannels) {
    Form form;
    form.in_channels = 128;  // two blocks of columns, of two planes each
    form.planes = {{0, 1, 0, 0}, {0, 0, 0, 1}, {0, 1, 0, 0}, {0, 0, 0, 0}};
    form.type = GetParam();
    for (const bool accumulate : {false, true}) {
        form.accumulate = accumulate;
        form.gradient_channels_last = !accumulate;
        expectRight(form);
    }
    const Products holes = productsOf(caseOf(form));
    const Products all = productsOf(caseOf(allValid(form)));
    EXPECT_EQ(holes.forward * 2, all.forward);
    EXPECT_EQ(holes.input_gradient * 8, all.input_gradient * 3);
    EXPECT_EQ(holes.weight_gradient * 2, all.weight_gradient);
}

// Its input is not masked, and has a gradient in the holes.
TEST_P(HoleTiles, OfAMaskedConvolutionHaveGradients) {
    Form form;
    form.planes = {{1, 0, 0, 1}};
    form.type = GetParam();
    form.normalization = Normalization::weight_magnitude;
    expectRight(form);
    const Products holes = productsOf(caseOf(form));
    const Products all = productsOf(caseOf(allValid(form)));
    EXPECT_EQ(holes.input_gradient, all.input_gradient);
}

INSTANTIATE_TEST_SUITE_P(Kernels, HoleTiles, testing::Values(DataType::f32, DataType::f16, DataType::bf16));

}  // namespace
}  // namespace pconv::cuda
