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
    bool channels_last = true;
    int multiprocessors = 132;
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
    c.shape.multiprocessors = form.multiprocessors;
    c.type = form.type;
    c.fast_math = true;
    c.multi_channel = form.planes > 1;
    c.mask_batch = form.batch;
    c.input_channels_last = c.output_channels_last = form.channels_last;
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
    EXPECT_EQ(std::count(launches.begin(), launches.end(), "maskCount"), 1);
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

// Whole tiles leave registers for shared memory, and that for the destination, without two lanes in one bank;
// and as vectors of 16 bytes, whichever dimension is dense.
TEST(Launches, IgemmStoresVectorsWithoutConflictsOfBanks) {
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16})
        for (const bool channels_last : {true, false}) {
            Form form{1, {1, 8, 16}, {1, 1, 1}, {0, 0, 0}, 1, 64, type};
            form.channels_last = channels_last;
            std::vector<std::string> launches;
            std::vector<cuda_shim::SharedCost> costs;
            std::vector<uint64_t> vectors;
            cuda_shim::recordLaunches(&launches);
            cuda_shim::recordSharedCost(&costs);
            cuda_shim::recordVectors(&vectors);
            run(caseOf(form), Algorithm::igemm, {0.5F});
            cuda_shim::recordLaunches(nullptr);
            cuda_shim::recordSharedCost(nullptr);
            cuda_shim::recordVectors(nullptr);
            ASSERT_EQ(launches.size(), costs.size());
            int products = 0;
            for (size_t i = 0; i < launches.size(); ++i) {
                if (launches[i] != "igemmProduct") continue;
                ++products;
                EXPECT_GT(costs[i].least, 0U);
                EXPECT_EQ(costs[i].cycles, costs[i].least);
                EXPECT_EQ(vectors[i], 128U * 64 * sizeOf(type) / 16);
            }
            EXPECT_EQ(products, 2) << "forward and backward";
        }
}

// What the forward product of a form writes: vectors of sums for each slice of the depth.
uint64_t slicesOf(const Form& form) {
    std::vector<std::string> launches;
    std::vector<uint64_t> vectors;
    cuda_shim::recordLaunches(&launches);
    cuda_shim::recordVectors(&vectors);
    run(caseOf(form), Algorithm::igemm, {0.5F});
    cuda_shim::recordLaunches(nullptr);
    cuda_shim::recordVectors(nullptr);
    const auto product = std::find(launches.begin(), launches.end(), "igemmProduct");
    if (product == launches.end() || *(product + 1) != "finishSlices") return 1;
    return vectors[static_cast<size_t>(product - launches.begin())] /
           static_cast<uint64_t>(form.batch * volume(form.size) * form.channels / 4);
}

// A block of 64 columns, and a depth of 18 steps, of which a slice has at least 8.
TEST(Launches, IgemmCutsTheDepthWhereBlocksAreFewerThanMultiprocessors) {
    Form form{1, {1, 4, 8}, {1, 3, 3}, {0, 1, 1}, 1, 64};
    const std::pair<int, uint64_t> expected[] = {{1, 1}, {2, 2}, {82, 2}};
    for (const auto& [multiprocessors, slices] : expected) {
        form.multiprocessors = multiprocessors;
        EXPECT_EQ(slicesOf(form), slices) << multiprocessors << " multiprocessors";
    }
    form.batch = 5;  // two blocks
    form.multiprocessors = 3;
    EXPECT_EQ(slicesOf(form), 1U);
    form.multiprocessors = 4;
    EXPECT_EQ(slicesOf(form), 2U);
    int ran = 0;
    EXPECT_EQ(check(caseOf(form), ran),
              "");  // within the bound, and the same bits in another order of threads
}

// Pictures that are smaller than a block share it.
TEST(Launches, IgemmJoinsPicturesInBlocks) {
    const auto productsOf = [](const Form& form) {
        std::vector<uint64_t> products;
        cuda_shim::recordProducts(&products);
        run(caseOf(form), Algorithm::igemm, {0.5F});
        cuda_shim::recordProducts(nullptr);
        return *std::max_element(products.begin(), products.end());
    };
    EXPECT_EQ(productsOf({8, {1, 4, 4}}), productsOf({1, {1, 8, 16}}));
}

// Four planes' bits of 841 taps are more shared memory than a block may have.
TEST(Launches, IgemmCopiesWhereTheBitsOfTheTapsDoNotFit) {
    Form form{1, {1, 1, 3}, {1, 1, 841}, {0, 0, 420}, 4, 16, DataType::f32};
    EXPECT_GE(copiesOf(form), 1);
    form.planes = 2;
    EXPECT_EQ(copiesOf(form), 0);
}

}  // namespace
}  // namespace pconv::cuda
