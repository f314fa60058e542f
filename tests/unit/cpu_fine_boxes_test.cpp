// cpu:onednn under masks with large holes, where it leaves small boxes of the output out.
#include <cmath>

#include "conformance/builder.h"
#include "conformance/verify.h"
#include "cpu/element.h"
#include "cpu/onednn/plan.h"

namespace pconv::test {
namespace {

const Row* onednn() {
    return rowNamed("cpu:onednn");
}

// Valid in a disc alone, whose edge meets cells in every way; or around one, of a negative radius.
void maskAllButADisc(Problem& problem, double radius) {
    const auto dims = problem.size.size();
    const int64_t height = problem.size[dims - 2];
    const int64_t width = problem.size[dims - 1];
    std::vector<float>& mask = problem.segments[0].values;
    for (size_t i = 0; i < mask.size(); ++i) {
        const auto at = static_cast<int64_t>(i);
        const double x = static_cast<double>(at % width) - static_cast<double>(width) * 0.4;
        const double y = static_cast<double>(at / width % height) - static_cast<double>(height) * 0.6;
        mask[i] = (std::hypot(x, y) < std::abs(radius)) == (radius > 0) ? 1.0F : 0.0F;
    }
}

// The problem's shape as the planner sees it.
PartialConvDesc planned(const Problem& problem) {
    PartialConvDesc desc;
    desc.spatial_dims = problem.dims();
    desc.batch = problem.batch;
    desc.in_channels = problem.in_channels;
    desc.out_channels = problem.out_channels;
    desc.groups = problem.groups;
    const auto output = outputSize(problem);
    for (size_t i = 0; i < problem.size.size(); ++i) {
        const size_t d = 3 - problem.size.size() + i;
        desc.window.input[d] = problem.size[i];
        desc.window.kernel[d] = problem.kernel[i];
        desc.window.stride[d] = problem.stride[i];
        desc.window.padding[d] = problem.padding[i];
        desc.window.dilation[d] = problem.dilation[i];
        desc.window.output[d] = output[i];
    }
    return desc;
}

void expectConforming(Problem problem, double radius, const Placement& placement = {},
                      PconvDataType type = PCONV_DATA_TYPE_F32) {
    const Row* row = onednn();
    if (row == nullptr) GTEST_SKIP() << "no cpu:onednn in this build";
    const cpu::Work work{2, problem.out_channels * problem.in_channels * product(problem.kernel) * 4};
    ASSERT_TRUE(cpu::makePlan(planned(problem), work).hasCells()) << "no small boxes to leave out";
    fillUniform(problem, 3);
    addPlane(problem, 4, MaskContent::binary, problem.mask_batch);
    maskAllButADisc(problem, radius);
    EXPECT_TRUE(conforms(*row, inType(problem, type), placement));
}

TEST(CpuFineBoxes, PlainLayer) {
    expectConforming(makeProblem(1, 48, 48, {93, 120}, 3, 1, 1), 22);
}

// Some boxes are done whole, some in cells.
TEST(CpuFineBoxes, HoleInTheMiddle) {
    expectConforming(makeProblem(1, 48, 48, {93, 220}, 3, 1, 1), -40);
}

TEST(CpuFineBoxes, CellsCoverBoxesOnce) {
    for (const auto& [size, kernel, stride] : std::vector<std::tuple<std::vector<int64_t>, int64_t, int64_t>>{
             {{93, 220}, 3, 1}, {{150, 190}, 5, 2}, {{64, 64}, 1, 1}, {{9, 41, 50}, 3, 1}}) {
        Problem problem = makeProblem(2, 48, 48, size, kernel, stride, kernel / 2);
        const PartialConvDesc desc = planned(problem);
        const cpu::Plan plan = cpu::makePlan(desc, {2, 48 * 48 * product(problem.kernel) * 4, 16});
        ASSERT_TRUE(plan.hasCells());
        const Dims3& all = desc.window.output;
        std::vector<int> seen(static_cast<size_t>(2 * 48 * volume(all)), 0);
        for (const cpu::Box& box : plan.boxes)
            for (const cpu::Box& band : cpu::bandsOf(desc.window, box, plan.cell))
                for (int64_t c = 0; c < cpu::cellsIn(band, plan.cell); ++c) {
                    const cpu::Box cell = cpu::cellsOf(desc.window, band, plan.cell, c, 1);
                    for (int64_t n = 0; n < cell.batch_size; ++n)
                        for (int64_t k = 0; k < cell.channel_size; ++k)
                            cpu::forEachPosition(
                                {cell.spans[0].output_size, cell.spans[1].output_size,
                                 cell.spans[2].output_size},
                                [&](const Dims3& at) {
                                    int64_t place = (cell.batch_begin + n) * 48 + cell.channel_begin + k;
                                    for (size_t d = 0; d < 3; ++d)
                                        place = place * all[d] + cell.spans[d].output_begin + at[d];
                                    ++seen[static_cast<size_t>(place)];
                                });
                }
        EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), static_cast<int64_t>(seen.size()));
    }
}

TEST(CpuFineBoxes, NothingIsValid) {
    expectConforming(makeProblem(1, 48, 48, {93, 120}, 3, 1, 1), 0);
}

TEST(CpuFineBoxes, ChannelsLastWithActivation) {
    Problem problem = makeProblem(1, 48, 40, {93, 120}, 3, 1, 1);
    problem.activation = PCONV_ACTIVATION_LEAKY_RELU;
    expectConforming(problem, 22, {PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST, 0});
}

TEST(CpuFineBoxes, StridedBatchWithMarginsInHalfPrecision) {
    Problem problem = makeProblem(2, 24, 48, {150, 190}, 5, 2, 6);
    problem.mask_batch = 2;
    expectConforming(problem, 40, {}, PCONV_DATA_TYPE_F16);
}

TEST(CpuFineBoxes, Winograd) {
    Problem problem = makeProblem(1, 48, 48, {93, 120}, 3, 1, 1);
    problem.fast_math = true;
    expectConforming(problem, 22);
}

TEST(CpuFineBoxes, Volumes) {
    expectConforming(makeProblem(1, 16, 16, {9, 41, 50}, 3, 1, 1), 12);
}

}  // namespace
}  // namespace pconv::test
