// How convolutions are cut: every output exactly once, every binding within the device's range; and that cut
// runs give bit for bit what whole ones do.
#include <algorithm>
#include "vulkan/plan.h"

#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

struct Case {
    const char* name;
    PartialConvDesc desc;
    bool channels_last;
    int64_t max_range;
    uint64_t max_work;
    bool detours;
};

PlanKernel kernelOf(const PartialConvDesc& desc, int64_t channels, int64_t rows) {
    PlanKernel kernel;
    const int64_t group_out = desc.out_channels / desc.groups;
    kernel.block_channels = channels;
    kernel.blocks_a_group = (group_out + channels - 1) / channels;
    kernel.block_bytes = (desc.in_channels / desc.groups * volume(desc.window.kernel) + 1) * channels * 4;
    kernel.unit_h = rows;
    kernel.units_a_row = desc.window.output[2];
    kernel.units_a_workgroup = 64;
    return kernel;
}

std::array<int64_t, 5> stridesOf(int64_t channels, const Dims3& size, bool channels_last) {
    if (channels_last)
        return {channels * volume(size), 1, channels * size[1] * size[2], channels * size[2], channels};
    return {channels * volume(size), volume(size), size[1] * size[2], size[2], 1};
}

std::vector<Case> cases() {
    PartialConvDesc grouped = squareDesc(2, 16, 24, 40);
    grouped.groups = 4;
    PartialConvDesc deep = squareDesc(1, 3, 5, 20);
    deep.window.input[0] = deep.window.output[0] = 9;
    deep.window.kernel[0] = 3;
    deep.window.padding[0] = 1;
    PartialConvDesc wide = squareDesc(2, 3, 41, 10);
    wide.window.input[0] = wide.window.output[0] = 9;
    PartialConvDesc strided = squareDesc(1, 8, 8, 64);
    strided.window.stride = {1, 3, 2};
    strided.window.output = {1, 22, 32};
    constexpr uint64_t kAny = uint64_t{1} << 40;
    return {
        {"whole", squareDesc(2, 8, 8, 32), false, int64_t{1} << 27, kAny, false},
        {"batch", squareDesc(9, 8, 8, 32), false, 40000, kAny, false},
        {"groups", grouped, false, 40000, kAny, false},
        {"rows of channels last", squareDesc(1, 16, 16, 64), true, 100000, kAny, false},
        {"channels far apart", squareDesc(1, 16, 8, 128), false, 300000, kAny, true},
        {"planes", deep, false, 12000, kAny, true},
        {"output planes far apart", wide, false, 9000, kAny, true},
        {"stride", strided, false, 60000, kAny, true},
        {"work", squareDesc(1, 8, 32, 64), false, int64_t{1} << 27, 200000, false},
    };
}

int64_t outputBytes(const PartialConvDesc& desc, const PlanKernel& kernel, const Chunk& chunk) {
    const Dims3& out = desc.window.output;
    const int64_t units = (out[1] + kernel.unit_h - 1) / kernel.unit_h;
    int64_t rows = 0;
    for (int64_t q = chunk.q0; q < chunk.q1; ++q)
        rows += std::min(kernel.unit_h, out[1] - q % units * kernel.unit_h);
    int64_t channels = 0;
    for (int64_t b = chunk.b0; b < chunk.b1; ++b)
        channels += std::min(kernel.block_channels, desc.out_channels / desc.groups -
                                                        b % kernel.blocks_a_group * kernel.block_channels);
    return (chunk.n1 - chunk.n0) * channels * rows * out[2] * 4;
}

TEST(Plan, CoversEveryOutputOnceWithinTheLimits) {
    for (const Case& c : cases())
        for (const int64_t rows : {1, 4}) {
            SCOPED_TRACE(std::string(c.name) + ", " + std::to_string(rows) + " rows");
            const PartialConvDesc& desc = c.desc;
            const PlanKernel kernel = kernelOf(desc, 8, rows);
            PlanLimits limits;
            limits.max_range = c.max_range;
            limits.alignment = 256;
            limits.max_work = c.max_work;
            limits.max_groups = {65535, 65535, 65535};
            const auto input = stridesOf(desc.in_channels, desc.window.input, c.channels_last);
            const auto output = stridesOf(desc.out_channels, desc.window.output, c.channels_last);
            const Plan plan = planPartialConv(desc, input, output, kernel, {1, 1, 32, 1}, limits);

            const int64_t units = desc.window.output[0] * ((desc.window.output[1] + rows - 1) / rows);
            const int64_t blocks = kernel.blocks_a_group * desc.groups;
            std::vector<int> covered(static_cast<size_t>(desc.batch * blocks * units), 0);
            bool detours = false;
            for (const Chunk& chunk : plan.chunks) {
                for (const Span* span :
                     {&chunk.input, &chunk.output, &chunk.weights, &chunk.ratio, &chunk.mask}) {
                    EXPECT_GE(span->begin, 0);
                    EXPECT_LE(span->size() + limits.alignment, limits.max_range);
                }
                EXPECT_LE(chunk.work, c.max_work);
                detours = detours || chunk.input_detour.used || chunk.output_detour.used;
                EXPECT_LE(chunk.output_detour.used ? chunk.output.end : 0, plan.output_scratch);
                EXPECT_LE(chunk.input_detour.used ? chunk.input.end : 0, plan.input_scratch);
                // What is copied back is what the chunk made, no more.
                int64_t copied = 0;
                for (const CopyRegion& region : chunk.output_detour.regions) copied += region.size;
                EXPECT_EQ(copied, chunk.output_detour.used ? outputBytes(desc, kernel, chunk) : 0);
                for (int64_t n = chunk.n0; n < chunk.n1; ++n)
                    for (int64_t b = chunk.b0; b < chunk.b1; ++b)
                        for (int64_t q = chunk.q0; q < chunk.q1; ++q)
                            ++covered[static_cast<size_t>((n * blocks + b) * units + q)];
            }
            EXPECT_EQ(covered, std::vector<int>(covered.size(), 1));
            EXPECT_EQ(detours, c.detours);
            EXPECT_EQ(plan.chunks.size() == 1, std::string(c.name) == "whole");
        }
}

// Row 23 of 24 is under no window, but under that of a row of the last tile which is no output.
TEST(Plan, BindsWhatTheRowsOfATileBeyondTheLastRead) {
    PartialConvDesc desc = squareDesc(1, 2, 4, 24);
    desc.window.stride = {1, 2, 2};
    desc.window.padding = {0, 0, 0};
    desc.window.output = {1, 11, 11};
    PlanLimits limits;
    limits.max_range = int64_t{1} << 27;
    limits.max_work = uint64_t{1} << 40;
    limits.max_groups = {65535, 65535, 65535};
    const auto input = stridesOf(2, desc.window.input, true);
    const auto output = stridesOf(4, desc.window.output, true);
    const Plan tiles = planPartialConv(desc, input, output, kernelOf(desc, 8, 4), {1, 1, 32, 1}, limits);
    ASSERT_EQ(tiles.chunks.size(), 1U);
    EXPECT_EQ(tiles.chunks[0].input.end, 2 * 24 * 24 * 4);
    EXPECT_EQ(tiles.chunks[0].mask.end, 24 * 32);
    const Plan rows = planPartialConv(desc, input, output, kernelOf(desc, 8, 1), {1, 1, 32, 1}, limits);
    ASSERT_EQ(rows.chunks.size(), 1U);
    EXPECT_EQ(rows.chunks[0].input.end, 2 * 23 * 24 * 4);
}

TEST(Plan, WhatCannotBeCutIsAnErrorThatSaysWhat) {
    PlanLimits limits;
    limits.max_range = 1000;
    limits.max_work = uint64_t{1} << 40;
    limits.max_groups = {65535, 65535, 65535};
    const PartialConvDesc desc = squareDesc(1, 1, 1, 400);
    const auto strides = stridesOf(1, desc.window.input, false);
    try {
        planPartialConv(desc, strides, strides, kernelOf(desc, 8, 1), {1, 1, 32, 1}, limits);
        FAIL() << "a row of 1600 bytes was bound in 1000";
    } catch (const Error& error) {
        EXPECT_EQ(error.status(), PCONV_ERROR_UNSUPPORTED);
        EXPECT_NE(std::string(error.what()).find("one row of the input"), std::string::npos) << error.what();
    }
}

class VulkanSplit : public VulkanTest {
  protected:
    // Output and submissions with a variable of the environment set.
    std::pair<std::vector<float>, size_t> runWith(const char* variable, const char* value,
                                                  const Implementation& row, const PartialConvDesc& desc) {
        const test::ScopedEnvironment lowered(variable, value);
        const auto device = open();
        auto output = runConvolution(*device, row, desc, 11);
        return {std::move(output), device->stream().submissions()};
    }
};

TEST_F(VulkanSplit, CutRunsAreBitEqualToWholeOnes) {
    PartialConvDesc grouped = squareDesc(3, 8, 16, 50);
    grouped.groups = 2;
    grouped.multi_channel = grouped.group_window = true;
    PartialConvDesc deep = squareDesc(1, 3, 5, 20);
    deep.window.input[0] = deep.window.output[0] = 9;
    deep.window.kernel[0] = 3;
    deep.window.padding[0] = 1;
    PartialConvDesc planes = squareDesc(1, 2, 20, 30);
    planes.window.input[0] = planes.window.output[0] = 9;
    const PartialConvDesc descs[] = {squareDesc(1, 16, 8, 128), grouped, deep, planes};
    for (const PartialConvDesc& desc : descs)
        for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()}) {
            SCOPED_TRACE(row->name());
            const auto whole = runWith("PCONV_VULKAN_MAX_RANGE", "134217728", *row, desc);
            EXPECT_EQ(runWith("PCONV_VULKAN_MAX_RANGE", "70000", *row, desc).first, whole.first);
            const auto small = runWith("PCONV_VULKAN_MAX_WORK", "200000", *row, desc);
            EXPECT_EQ(small.first, whole.first);
            EXPECT_GT(small.second, whole.second + 1);
        }
}

}  // namespace

}  // namespace pconv::vulkan
