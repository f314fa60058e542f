// What the backward pass of cpu:onednn takes besides the caller's tensors: no more than the gradients
// themselves and one tensor of the output's size, all of it counted, the weights it keeps packed and oneDNN's
// scratchpads too. And its results where it is done in parts to keep to that. Of tensors of gigabytes, which
// are gone through in parts forward too, only what is prepared.
#include <ostream>
#include <random>

#include "conformance/builder.h"
#include "conformance/verify.h"

namespace pconv::test {
namespace {

struct Shape {
    const char* name;
    int64_t batch, in_channels, out_channels;
    std::vector<int64_t> size;
    int64_t kernel, stride, padding, dilation, groups;
};

const Shape kShapes[] = {
    {"image_first_layer", 1, 3, 64, {256, 256}, 7, 2, 3, 1, 1},
    {"image_k3", 1, 3, 32, {256, 256}, 3, 1, 1, 1, 1},
    {"one_channel", 1, 1, 16, {128, 128}, 3, 1, 1, 1, 1},
    {"image_and_mask", 1, 4, 64, {128, 128}, 3, 1, 1, 1, 1},
    {"few_channels", 2, 5, 7, {100, 100}, 3, 1, 1, 1, 1},
    {"few_channels_in_depth", 1, 3, 5, {24, 20, 30}, 3, 1, 1, 1, 1},
    {"unpadded_blocks", 2, 20, 24, {64, 64}, 3, 1, 1, 1, 1},
    {"whole_blocks", 1, 64, 64, {64, 64}, 3, 1, 1, 1, 1},
    {"image_last_layer", 1, 64, 3, {256, 256}, 3, 1, 1, 1, 1},
    {"downsampling", 1, 64, 128, {128, 128}, 5, 2, 2, 1, 1},
    {"large_weights", 1, 512, 512, {16, 16}, 3, 1, 1, 1, 1},
    {"batch_of_first_layers", 8, 3, 64, {128, 128}, 7, 2, 3, 1, 1},
    {"batch", 8, 64, 64, {32, 32}, 3, 1, 1, 1, 1},
    {"grouped", 1, 32, 32, {64, 64}, 3, 1, 1, 1, 4},
    {"groups_apart", 2, 6, 10, {90, 70}, 3, 1, 1, 1, 2},
    {"depthwise", 1, 32, 32, {64, 64}, 3, 1, 1, 1, 32},
    {"depthwise_in_part_of_a_block", 1, 30, 30, {64, 64}, 3, 1, 1, 1, 30},
    {"volume", 2, 32, 64, {8, 64, 64}, 3, 1, 1, 1, 1},
    {"volume_first_layer", 1, 3, 32, {16, 32, 32}, 5, 1, 2, 1, 1},
    {"signal", 4, 16, 32, {4096}, 5, 1, 2, 1, 1},
    {"signal_of_few_channels", 1, 5, 9, {9001}, 5, 1, 2, 1, 1},
    {"strided_past_the_kernel", 1, 7, 9, {150, 140}, 2, 3, 0, 1, 1},
    {"dilated", 1, 6, 18, {90, 80}, 3, 1, 4, 4, 1},
    {"pointwise", 1, 64, 64, {64, 64}, 1, 1, 0, 1, 1},
};

// Where the rule cannot be kept: how many times what it allows is taken.
struct Exception {
    std::string shape;
    PconvDataType type;
    double times;
};

const Exception kExceptions[] = {
    // oneDNN takes the weights packed and makes their gradient packed; where they are larger than the
    // tensors,
    // no part of the tensors makes up for the second.
    {"large_weights", PCONV_DATA_TYPE_F32, 1.95},
    // Both in f32, and their gradient once more as it is added up, in f32.
    {"large_weights", PCONV_DATA_TYPE_F16, 5.65},
    // 3 and 5 channels of 16 bits are 16 of 32 bits in oneDNN, and of parts of a depth most is shared.
    {"few_channels_in_depth", PCONV_DATA_TYPE_F16, 1.6},
#ifdef PCONV_TEST_ONEDNN_3
    // The strided kernel of 3.7 takes a scratchpad of the weights' size on each thread, whatever it is given
    // to do.
    {"downsampling", PCONV_DATA_TYPE_F16, 1.25},
#endif
};

void PrintTo(const Shape& shape, std::ostream* out) {
    *out << shape.name;
}

Problem problemOf(const Shape& s) {
    Problem p = makeProblem(s.batch, s.in_channels, s.out_channels, s.size, s.kernel, s.stride, s.padding,
                            s.dilation, s.groups);
    addPlane(p, 5, MaskContent::binary, s.batch);
    return p;
}

void keepBalance(void* user, int64_t bytes) {
    *static_cast<int64_t*>(user) += bytes;
}

// What an object prepared for the descriptor holds on two threads.
int64_t heldBy(const PconvPartialConvDesc& desc) {
    int64_t balance = 0;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.allocation_callback = keepBalance;
    options.user = &balance;
    options.threads = 2;
    const OwnedDevice device = openDevice("cpu", &options);
    OwnedPartialConv conv;
    check(pconvCreatePartialConv(device.get(), &desc, conv.out()));
    return balance;
}

int64_t heldForBackward(const Problem& p) {
    PconvPartialConvDesc desc = describe(p);
    desc.implementation = "cpu:onednn";
    desc.training = 0;
    const int64_t forward = heldBy(desc);
    desc.training = 1;
    return heldBy(desc) - forward;
}

// A build without oneDNN has no such row.
const Row* onednn() {
    return rowNamed("cpu:onednn");
}

class CpuBackwardMemory : public testing::TestWithParam<Shape> {
  protected:
    void SetUp() override {
        if (onednn() == nullptr) GTEST_SKIP() << "no cpu:onednn";
    }
};

TEST_P(CpuBackwardMemory, IsThatOfTheGradientsAndOneTensorOfTheOutputsSize) {
    for (const PconvDataType type : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16}) {
        const Problem p = inType(problemOf(GetParam()), type);
        const int64_t elements =
            product(inputDims(p)) + product(weightDims(p)) + p.out_channels + product(outputDims(p));
        double allowed = static_cast<double>(elements) * (type == PCONV_DATA_TYPE_F32 ? 4 : 2);
        for (const Exception& exception : kExceptions)
            if (exception.shape == GetParam().name && exception.type == type) allowed *= exception.times;
        EXPECT_LE(static_cast<double>(heldForBackward(p)), allowed)
            << (type == PCONV_DATA_TYPE_F32 ? "f32" : "f16");
    }
}

// The oracle takes seconds for more.
constexpr int64_t kMostWork = 40'000'000;

TEST_P(CpuBackwardMemory, GradientsMadeInPartsMatchTheOracle) {
    Problem p = problemOf(GetParam());
    if (work(p) > kMostWork) GTEST_SKIP() << "the same as smaller ones";
    fillUniform(p, 6);
    std::mt19937 engine(7);
    p.grad_output.resize(static_cast<size_t>(product(outputDims(p))));
    for (float& dy : p.grad_output) dy = static_cast<float>(engine() % 2001) / 1000 - 1;
    EXPECT_TRUE(conforms(*onednn(), p));
    const Placement channels_last{PCONV_LAYOUT_CHANNELS_LAST, PCONV_LAYOUT_CHANNELS_LAST};
    EXPECT_TRUE(conforms(*onednn(), p, channels_last));
    EXPECT_TRUE(conforms(*onednn(), inType(p, PCONV_DATA_TYPE_F16)));
}

TEST_P(CpuBackwardMemory, TwoRunsAreBitEqual) {
    Problem p = problemOf(GetParam());
    fillUniform(p, 6);
    p.grad_output.assign(static_cast<size_t>(product(outputDims(p))), 0.3F);
    const Results first = run(*onednn(), p);
    const Results second = run(*onednn(), p);
    EXPECT_EQ(first.grad_input, second.grad_input);
    EXPECT_EQ(first.grad_weight, second.grad_weight);
    EXPECT_EQ(first.grad_bias, second.grad_bias);
}

INSTANTIATE_TEST_SUITE_P(Shapes, CpuBackwardMemory, testing::ValuesIn(kShapes),
                         [](const auto& test) { return std::string(test.param.name); });

// Of more than 2^31 elements, which nothing here allocates: [batch, channels, size...] -> channels.
const Shape kLarge[] = {
    {"image", 1, 8, 8, {16384, 16400}, 3, 1, 1, 1, 1},
    {"one_channel", 1, 1, 1, {46400, 46400}, 3, 1, 1, 1, 1},
    {"first_layer", 1, 3, 8, {26800, 26800}, 7, 2, 3, 1, 1},
    {"many_channels", 1, 256, 256, {2900, 2900}, 3, 1, 1, 1, 1},
    {"long_rows", 1, 64, 64, {16, 2100000}, 3, 1, 1, 1, 1},
    {"few_long_rows", 1, 1, 1, {4, 600000000}, 3, 1, 1, 1, 1},
    {"signal", 1, 4, 4, {600000000}, 5, 1, 2, 1, 1},
    {"volume", 1, 4, 4, {820, 820, 820}, 3, 1, 1, 1, 1},
    {"batch", 70000, 3, 8, {104, 104}, 3, 1, 1, 1, 1},
    {"batch_of_small_images", 3000000, 16, 16, {7, 7}, 3, 1, 1, 1, 1},
};

class CpuLargeTensors : public CpuBackwardMemory {};

TEST_P(CpuLargeTensors, AreTakenInParts) {
    const Shape& s = GetParam();
    const Problem p =
        makeProblem(s.batch, s.in_channels, s.out_channels, s.size, s.kernel, s.stride, s.padding);
    ASSERT_GT(product(inputDims(p)), int64_t{1} << 31);
    for (const PconvDataType type : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16})
        for (const int32_t training : {0, 1}) {
            PconvPartialConvDesc desc = describe(inType(p, type));
            desc.implementation = "cpu:onednn";
            desc.training = training;
            EXPECT_LE(heldBy(desc), int64_t{1} << 30)
                << (training != 0 ? "training, type " : "type ") << type;
        }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CpuLargeTensors, testing::ValuesIn(kLarge),
                         [](const auto& test) { return std::string(test.param.name); });

Problem filled(Problem p, MaskContent content) {
    fillUniform(p, 8);
    addPlane(p, 9, content, p.batch);
    if (content == MaskContent::fractions) p.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
    return p;
}

class CpuOnednn : public testing::Test {
  protected:
    void SetUp() override {
        if (onednn() == nullptr) GTEST_SKIP() << "no cpu:onednn";
    }
};
using CpuLargeMasks = CpuOnednn;
using CpuLongRows = CpuOnednn;

// Masks whose sums over channels are held in parts: of rows, of one row, of depth and of planes.
TEST_F(CpuLargeMasks, AreSummedInParts) {
    for (const std::vector<int64_t>& size :
         {std::vector<int64_t>{1500, 1470}, {2'200'000}, {5, 660, 670}, {2, 1'100'000}})
        EXPECT_TRUE(conforms(*onednn(), filled(makeProblem(1, 1, 1, size, 3, 2, 1), MaskContent::fractions)))
            << size[0];
    EXPECT_TRUE(
        conforms(*onednn(), filled(makeProblem(3, 1, 1, {900, 910}, 3, 1, 1), MaskContent::fractions)));
}

// Rows of which one would fill a box many times over.
TEST_F(CpuLongRows, AreSplit) {
    EXPECT_TRUE(
        conforms(*onednn(), filled(makeProblem(1, 8, 1, {8, 180'000}, 3, 1, 1), MaskContent::binary)));
}

TEST_F(CpuLongRows, HaveGradientsInParts) {
    Problem p = filled(makeProblem(1, 8, 1, {2, 180'000}, 3, 1, 1), MaskContent::binary);
    p.grad_output.assign(static_cast<size_t>(product(outputDims(p))), 0.3F);
    EXPECT_TRUE(conforms(*onednn(), p));
}

}  // namespace
}  // namespace pconv::test
