// Work cut into pieces: everything once, within the limits, and gradients that do not depend on the cuts.
#include <cmath>

#include "vulkan/partial_conv.h"
#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

PlanLimits limitsOf(int64_t range) {
    PlanLimits limits;
    limits.max_range = range;
    limits.max_work = uint64_t{1} << 40;
    limits.max_groups = {65535, 65535, 65535};
    return limits;
}

TEST(Split, PiecesFitAndCoverEverythingOnce) {
    const std::array<int64_t, 5> strides{6 * 35, 35, 7, 1, 0};
    const PlanLimits limits = limitsOf(100);
    const auto fits = [&](const Piece& piece) {
        Fit fit(limits);
        fit.bytes(spanOf(piece, strides, 4));
        return fit;
    };
    std::vector<int> covered(3 * 6 * 35, 0);
    size_t pieces = 0;
    splitPiece({Range{0, 3}, {0, 6}, {0, 5}, {0, 7}, {0, 1}}, fits, [&](const Piece& p) {
        ++pieces;
        EXPECT_LE(spanOf(p, strides, 4).size() + 2 * limits.alignment, limits.max_range);
        for (int64_t n = p[0].begin; n < p[0].end; ++n)
            for (int64_t c = p[1].begin; c < p[1].end; ++c)
                for (int64_t y = p[2].begin; y < p[2].end; ++y)
                    for (int64_t x = p[3].begin; x < p[3].end; ++x)
                        ++covered[static_cast<size_t>(n * strides[0] + c * strides[1] + y * strides[2] + x)];
    });
    EXPECT_EQ(covered, std::vector<int>(covered.size(), 1));
    EXPECT_GE(pieces, covered.size() * 4 / 100);
}

TEST(Split, WhatDoesNotBindIsAnErrorBeforeAnythingIsDone) {
    const PlanLimits limits = limitsOf(100);
    const auto fits = [&](const Piece& piece) {
        const bool hopeless = piece[0].begin <= 2 && piece[0].end > 2;
        Fit fit(limits);
        fit.bytes({0, hopeless ? 1000 : 40 * piece[0].size()});
        return fit;
    };
    size_t pieces = 0;
    EXPECT_THROW(
        splitPiece({Range{0, 4}, {0, 1}, {0, 1}, {0, 1}, {0, 1}}, fits, [&](const Piece&) { ++pieces; }),
        Error);
    EXPECT_EQ(pieces, 0U);
}

class VulkanGradients : public VulkanTest {
  protected:
    struct Result {
        std::vector<float> input, weight, bias;
    };

    // The gradients are added to random values of the seeds 5, 6 and 7 where `accumulate` is set.
    Result run(const Implementation& row, const PartialConvDesc& desc, const char* variable,
               const char* value, bool accumulate = false) {
        const test::ScopedEnvironment lowered(variable, value);
        const auto device = open();
        const auto dims = [](int64_t n, int64_t c, const Dims3& size) {
            return std::array<int64_t, 5>{n, c, size[0], size[1], size[2]};
        };
        const auto make = [&](const std::array<int64_t, 5>& size, unsigned seed) {
            int64_t count = 1;
            for (const int64_t d : size) count *= d;
            return makeTensor(*device, randomValues(static_cast<size_t>(count), seed), size);
        };
        const auto in_dims = dims(desc.batch, desc.in_channels, desc.window.input);
        const auto out_dims = dims(desc.batch, desc.out_channels, desc.window.output);
        const auto weight_dims = dims(desc.out_channels, desc.in_channels / desc.groups, desc.window.kernel);
        const TensorRef input = make(in_dims, 1), grad_output = make(out_dims, 2);
        const TensorRef weight = make(weight_dims, 3), bias = make({1, 1, 1, 1, desc.out_channels}, 4);
        const TensorRef grad_input = make(in_dims, 5), grad_weight = make(weight_dims, 6);
        const TensorRef grad_bias = make({1, 1, 1, 1, desc.out_channels}, 7);
        MaskForm form;
        form.segments = {{1, 1}};
        const auto outputs = static_cast<size_t>(volume(desc.window.output));
        std::array<int64_t, 5> result_strides = {0, 0, 0, 0, 1};
        MaskPlanes planes{{device->allocate(outputs * 4), 0, DataType::f32, result_strides},
                          {device->allocate(outputs), 0, DataType::u8, result_strides},
                          {device->allocate(outputs * 4), 0, DataType::f32, result_strides}};
        std::vector<uint8_t> bytes;
        for (const float v : randomValues(static_cast<size_t>(volume(desc.window.input)), 8))
            bytes.push_back(v > -0.3F ? 1 : 0);
        const Dims3& size = desc.window.input;
        const TensorRef mask{device->allocate(bytes.size()),
                             0,
                             DataType::u8,
                             {volume(size), volume(size), size[1] * size[2], size[2], 1}};
        device->write(*mask.buffer, 0, bytes.data(), bytes.size());
        const auto update = row.makeMaskUpdate(*device, desc, form, planes);
        update->compute({mask});
        const auto conv = row.makePartialConv(*device, desc);
        conv->setWeights(weight, &bias);
        conv->backward(*update, input, grad_output, {&grad_input, &grad_weight, &grad_bias, accumulate});
        const auto read = [&](const TensorRef& tensor) {
            return readTensor(*device, tensor, tensor.buffer->size() / sizeof(float));
        };
        return {read(grad_input), read(grad_weight), read(grad_bias)};
    }
};

void expectClose(const std::vector<float>& got, const std::vector<float>& expected, double scale) {
    ASSERT_EQ(got.size(), expected.size());
    for (size_t i = 0; i < got.size(); ++i)
        EXPECT_NEAR(static_cast<double>(got[i]), static_cast<double>(expected[i]), scale * 0x1p-22) << i;
}

TEST_F(VulkanGradients, DoNotDependOnTheCutsAndRepeatBitForBit) {
    PartialConvDesc plain = squareDesc(3, 12, 20, 24);
    PartialConvDesc grouped = squareDesc(2, 8, 16, 30);
    grouped.groups = 4;
    PartialConvDesc deep = squareDesc(1, 3, 5, 20);
    deep.window.input[0] = deep.window.output[0] = 9;
    deep.window.kernel[0] = 3;
    deep.window.padding[0] = 1;
    for (PartialConvDesc desc : {plain, grouped, deep})
        for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()}) {
            SCOPED_TRACE(row->name());
            desc.training = true;
            const Result whole = run(*row, desc, "PCONV_VULKAN_MAX_RANGE", "134217728");
            const Result again = run(*row, desc, "PCONV_VULKAN_MAX_RANGE", "134217728");
            EXPECT_EQ(again.input, whole.input);
            EXPECT_EQ(again.weight, whole.weight);
            EXPECT_EQ(again.bias, whole.bias);
            const auto outputs = static_cast<double>(desc.batch * volume(desc.window.output));
            for (const auto& [variable, value] : {std::make_pair("PCONV_VULKAN_MAX_RANGE", "20000"),
                                                  std::make_pair("PCONV_VULKAN_MAX_WORK", "20000")}) {
                SCOPED_TRACE(variable);
                const Result cut = run(*row, desc, variable, value);
                EXPECT_EQ(cut.input, whole.input);
                // Pieces of a sum over outputs are rounded apart from each other.
                expectClose(cut.weight, whole.weight, 2 * outputs);
                expectClose(cut.bias, whole.bias, outputs);
            }
        }
}

TEST_F(VulkanGradients, AreAddedToWhatIsThere) {
    PartialConvDesc strided = squareDesc(2, 12, 20, 31);
    strided.window.stride = {1, 2, 2};
    strided.window.output = {1, 16, 16};
    for (PartialConvDesc desc : {squareDesc(1, 12, 20, 24), strided, squareDesc(1, 3, 5, 9)})
        for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()}) {
            SCOPED_TRACE(row->name());
            desc.training = true;
            const Result alone = run(*row, desc, "PCONV_VULKAN_MAX_RANGE", "134217728");
            const Result added = run(*row, desc, "PCONV_VULKAN_MAX_RANGE", "134217728", true);
            const auto expectAdded = [](const std::vector<float>& got, std::vector<float> expected,
                                        unsigned seed) {
                const std::vector<float> before = randomValues(expected.size(), seed);
                for (size_t i = 0; i < expected.size(); ++i) expected[i] += before[i];
                EXPECT_EQ(got, expected);
            };
            expectAdded(added.input, alone.input, 5);
            expectAdded(added.weight, alone.weight, 6);
            expectAdded(added.bias, alone.bias, 7);
        }
}

// The parts of the weights' gradient take little memory, and are many where tiles of weights are few.
TEST_F(VulkanGradients, OutputsAreCutWithinAQuarterOfTheirSums) {
    const auto device = open();
    size_t cut = 0;
    for (const PartialConvDesc& desc :
         {squareDesc(1, 32, 64, 128), squareDesc(4, 64, 64, 64), squareDesc(2, 12, 20, 40),
          squareDesc(1, 128, 128, 16), squareDesc(1, 3, 5, 9)}) {
        const GradContext context(*device, desc);
        const int64_t parts = gradWeightGemm(context).parts;
        EXPECT_GE(parts, 1);
        if (parts == 1) continue;
        ++cut;
        const int64_t weights = desc.out_channels * desc.in_channels * context.taps();
        EXPECT_LE(4 * parts * weights, desc.batch * desc.out_channels * volume(desc.window.output));
    }
    EXPECT_EQ(cut, 3U);
}

}  // namespace

}  // namespace pconv::vulkan
