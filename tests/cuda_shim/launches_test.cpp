// Which kernels a convolution launches: a pass over a tensor that could be read in place is time that no
// result shows.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "cuda_shim.h"
#include "kernel_case.h"

namespace pconv::cuda {
namespace {

struct Form {
    int batch = 1;
    int size[3] = {1, 6, 7};
    int kernel[3] = {1, 3, 3};
    int padding[3] = {0, 1, 1};
    int planes = 1;
    int channels = 16;
    DataType type = DataType::f16;
    int gap = 0;
};

KernelCase caseOf(const Form& form) {
    KernelCase c;
    c.shape.batch = form.batch;
    c.shape.in_channels = c.shape.out_channels = form.channels;
    c.shape.groups = 1;
    for (int d = 0; d < 3; ++d) {
        c.shape.input[d] = form.size[d];
        c.shape.kernel[d] = form.kernel[d];
        c.shape.padding[d] = form.padding[d];
        c.shape.stride[d] = c.shape.dilation[d] = 1;
    }
    setOutput(c.shape);
    c.type = form.type;
    c.fast_math = true;
    c.multi_channel = form.planes > 1;
    c.mask_batch = form.batch;
    c.input_channels_last = c.output_channels_last = true;
    c.gap = form.gap;
    std::mt19937 random(5);
    const auto numbers = [&](int count) {
        std::vector<float> values(static_cast<size_t>(count));
        for (float& value : values)
            value = rounded(static_cast<float>(random() % 2001) / 1000.0F - 1, form.type);
        return values;
    };
    CaseSegment segment{form.planes, form.channels / form.planes, {}};
    for (int i = 0; i < form.batch * form.planes * volume(c.shape.input); ++i)
        segment.values.push_back(static_cast<float>(random() % 4 != 0));
    c.segments.push_back(std::move(segment));
    c.input = numbers(form.batch * form.channels * volume(c.shape.input));
    c.weight = numbers(form.channels * form.channels * volume(c.shape.kernel));
    c.bias = numbers(form.channels);
    c.grad_output = numbers(form.batch * form.channels * volume(c.shape.output));
    return c;
}

std::vector<std::string> launchesOf(const KernelCase& c, Algorithm algorithm) {
    std::vector<std::string> launches;
    const std::vector<float> previous{0.5F};
    cuda_shim::recordLaunches(&launches);
    run(c, algorithm, previous);
    cuda_shim::recordLaunches(nullptr);
    return launches;
}

int64_t copiesOf(const Form& form) {
    const std::vector<std::string> launches = launchesOf(caseOf(form), Algorithm::igemm);
    EXPECT_GE(std::count(launches.begin(), launches.end(), "igemmProduct"), 2);
    return std::count_if(launches.begin(), launches.end(),
                         [](const std::string& name) { return name.rfind("maskedCopy", 0) == 0; });
}

TEST(Launches, AreKnownByTheKernelsNames) {
    const std::vector<std::string> launches = launchesOf(caseOf({}), Algorithm::igemm);
    EXPECT_EQ(std::count(launches.begin(), launches.end(), "packMask"), 1);
    EXPECT_EQ(std::count(launches.begin(), launches.end(), "maskWindow"), 1);
}

// Whatever has one element along a dimension has stride 1 there, which is no multiple of a vector.
TEST(Launches, IgemmReadsDenseChannelsLastInputsInPlace) {
    for (const DataType type : {DataType::f16, DataType::f32}) {
        Form form;
        form.type = type;
        EXPECT_EQ(copiesOf(form), 0) << "a picture";
        form.batch = 2;
        EXPECT_EQ(copiesOf(form), 0) << "two pictures";
        form.gap = 8;
        EXPECT_EQ(copiesOf(form), 0) << "with gaps of whole vectors";
        form.gap = 3;
        EXPECT_EQ(copiesOf(form), 2) << "with gaps of other sizes: forward and backward copy";
    }
    EXPECT_EQ(copiesOf({1, {1, 1, 20}, {1, 1, 3}, {0, 0, 1}}), 0) << "a line";
    EXPECT_EQ(copiesOf({1, {3, 4, 5}, {3, 3, 3}, {1, 1, 1}}), 0) << "a volume";
    EXPECT_EQ(copiesOf({1, {1, 5, 6}, {1, 3, 3}, {0, 1, 1}, 2}), 0) << "two planes";
}

// Four planes' bits of 841 taps are more shared memory than a block may have.
TEST(Launches, IgemmCopiesWhereTheBitsOfTheTapsDoNotFit) {
    Form form{1, {1, 1, 3}, {1, 1, 841}, {0, 0, 420}, 4, 32};
    EXPECT_GE(copiesOf(form), 1);
    form.planes = 2;
    EXPECT_EQ(copiesOf(form), 0);
}

}  // namespace
}  // namespace pconv::cuda
