// Weights and the forward pass of the C API: misuse is named, and the output is not touched by it.
#include <algorithm>

#include "support/api.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

class Forward : public ::testing::Test {
  protected:
    // The call was refused, for this reason, and the output is as it was before.
    void expectRefused(const std::string& part) {
        EXPECT_INVALID(small_.forward(), part);
        EXPECT_EQ(small_.result(), std::vector<float>(360, -7.0F));
    }

    OwnedDevice device_ = openDevice("cpu");
    SmallConv small_{device_.get()};
};

TEST_F(Forward, NullsAreNamed) {
    small_.prepare();
    PconvPartialConv conv = small_.conv.get();
    PconvMaskUpdate update = small_.update.get();
    const PconvTensor* in = &small_.input;
    const PconvTensor* out = &small_.output;
    EXPECT_INVALID(pconvForwardPartialConv(nullptr, update, in, out), "conv is null");
    EXPECT_INVALID(pconvForwardPartialConv(conv, nullptr, in, out), "update is null");
    EXPECT_INVALID(pconvForwardPartialConv(conv, update, nullptr, out), "input is null");
    EXPECT_INVALID(pconvForwardPartialConv(conv, update, in, nullptr), "output is null");
    EXPECT_EQ(small_.result(), std::vector<float>(360, -7.0F));
}

TEST_F(Forward, WeightsComeFirst) {
    check(pconvComputeMaskUpdate(small_.update.get(), &small_.mask));
    expectRefused("the weights have not been set");
}

TEST_F(Forward, TheMaskUpdateComesFirst) {
    check(pconvSetPartialConvWeights(small_.conv.get(), &small_.weight, &small_.bias));
    expectRefused("the mask update has not been computed");
}

TEST_F(Forward, UpdateOfAnotherDevice) {
    small_.prepare();
    const OwnedDevice other = openDevice("cpu");
    SmallConv elsewhere(other.get());
    elsewhere.prepare();
    std::swap(small_.update, elsewhere.update);
    expectRefused("update lies on another device");
}

TEST_F(Forward, UpdateOfAnotherWindow) {
    small_.prepare();
    const char* const message = "update was made for another window or mask setting than this convolution's";
    const auto refuses = [&](auto change) {
        PconvPartialConvDesc desc = smallDesc();
        change(desc);
        PconvMaskSegment segment = small_.segment;
        PconvMask mask = small_.mask;
        mask.segments = &segment;
        OwnedBuffer plane = makeBuffer(device_.get(), std::vector<float>(60, 1.0F));
        if (desc.mask_type == PCONV_MASK_TYPE_FRACTIONAL)
            segment.planes = makeTensor(plane.get(), PCONV_DATA_TYPE_F32, {2, 1, 5, 6});
        if (desc.mask_mode == PCONV_MASK_MODE_MULTI_CHANNEL) segment.multiplicity = 4;
        const PconvMask* given = desc.mask_type == PCONV_MASK_TYPE_NONE ? nullptr : &mask;
        OwnedMaskUpdate update;
        check(pconvCreateMaskUpdate(device_.get(), &desc, given, update.out()));
        check(pconvComputeMaskUpdate(update.get(), given));
        EXPECT_INVALID(
            pconvForwardPartialConv(small_.conv.get(), update.get(), &small_.input, &small_.output), message);
    };
    refuses([](auto& d) { d.stride[1] = 2; });
    refuses([](auto& d) { d.kernel[0] = d.padding[0] = 2; });
    refuses([](auto& d) { d.padding[0] = 2; });
    refuses([](auto& d) { d.dilation[1] = d.padding[1] = 2; });
    refuses([](auto& d) { d.mask_type = PCONV_MASK_TYPE_NONE; });
    refuses([](auto& d) { d.mask_type = PCONV_MASK_TYPE_FRACTIONAL; });
    refuses([](auto& d) { d.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL; });
    refuses([](auto& d) { d.normalization = PCONV_NORMALIZATION_MASK_SUM; });
    refuses([](auto& d) { d.eps = 1e-6; });
    EXPECT_EQ(small_.result(), std::vector<float>(360, -7.0F));
}

TEST_F(Forward, TensorRankShapeAndType) {
    small_.prepare();
    PconvTensor right = small_.input;
    small_.input.rank = 3;
    expectRefused("input has 3 dimensions; expected 4");
    small_.input.rank = 1 << 20;
    expectRefused("input has 1048576 dimensions");
    small_.input = right;
    small_.input.dims[1] = 3;
    expectRefused("input has shape [2, 3, 5, 6]; expected [2, 4, 5, 6]");
    small_.input.dims[1] = -4;
    expectRefused("input has shape [2, -4, 5, 6]");
    small_.input = right;
    small_.input.data_type = PCONV_DATA_TYPE_F16;
    expectRefused("input is F16; expected F32");
    setEnum(small_.input.data_type, 12);
    expectRefused("input has an unknown data type");
    small_.input = right;
    right = small_.output;
    small_.output.dims[3] = 7;
    expectRefused("output has shape [2, 6, 5, 7]; expected [2, 6, 5, 6]");
    small_.output = right;
    small_.output.data_type = PCONV_DATA_TYPE_U8;
    expectRefused("output is U8; expected F32");
}

TEST_F(Forward, TensorsMustLieInTheirBuffer) {
    small_.prepare();
    const PconvTensor right = small_.output;
    small_.output.buffer = nullptr;
    expectRefused("output has no buffer");
    const OwnedDevice other = openDevice("cpu");
    const OwnedBuffer elsewhere = makeBuffer(other.get(), 1440);
    small_.output.buffer = elsewhere.get();
    expectRefused("output lies on another device");
    small_.output = right;
    small_.output.offset = 4;
    expectRefused("output needs 1440 bytes from offset 4; the buffer has 1440");
    small_.output.offset = 3;
    expectRefused("output has offset 3; expected a multiple of 4");
    small_.output.offset = SIZE_MAX - 3;
    expectRefused("output needs 1440 bytes");
    small_.output = right;
    const OwnedBuffer small_buffer = makeBuffer(device_.get(), 1439);
    small_.output.buffer = small_buffer.get();
    expectRefused("the buffer has 1439");
}

TEST_F(Forward, HostMemoryMustBeAlignedToItsElements) {
    small_.prepare();
    std::vector<float> memory(361, -3.0F);
    OwnedBuffer odd;
    check(pconvImportHostBuffer(device_.get(), reinterpret_cast<char*>(memory.data()) + 1, 1440, odd.out()));
    small_.output.buffer = odd.get();
    expectRefused("output lies in memory that is not aligned to its elements of 4 bytes");
    EXPECT_EQ(memory, std::vector<float>(361, -3.0F));
}

TEST_F(Forward, Strides) {
    small_.prepare();
    const auto strides = [&](PconvTensor& tensor, std::vector<int64_t> values) {
        std::copy(values.begin(), values.end(), tensor.strides);
    };
    strides(small_.output, {180, 30, 12, 2});
    expectRefused("output has stride 2 in its last dimension; expected 1 in this layout");
    strides(small_.output, {180, 1, 36, 6});
    expectRefused("output has stride 6 in its last dimension; expected 1 in this layout");
    strides(small_.output, {180, 30, 0, 1});
    expectRefused("output has a stride of 0; expected at least 1");
    strides(small_.output, {180, 30, -6, 1});
    expectRefused("output has a stride of -6");
    strides(small_.output, {180, 30, 5, 1});
    expectRefused("output has strides by which its elements overlap");
    strides(small_.output, {29, 30, 6, 1});
    expectRefused("output has strides by which its elements overlap");
    strides(small_.output, {180, 31, 6, 1});
    expectRefused("output needs 1460 bytes");
    strides(small_.output, {INT64_MAX, 30, 6, 1});
    expectRefused("output reaches beyond what 64 bits can address");
    strides(small_.output, {180, INT64_MAX, 6, 1});
    expectRefused("output has more elements than 64 bits can count");
}

TEST_F(Forward, ChannelsLastWantsTheChannelsStrideOne) {
    PconvPartialConvDesc desc = smallDesc();
    desc.input_layout = PCONV_LAYOUT_CHANNELS_LAST;
    SmallConv other(device_.get(), desc);
    other.prepare();
    EXPECT_INVALID(other.forward(), "input has stride 30 in its channels; expected 1 in this layout");
    EXPECT_EQ(other.result(), std::vector<float>(360, -7.0F));
}

TEST_F(Forward, InputAndOutputMayNotOverlap) {
    small_.prepare();
    const OwnedBuffer both = makeBuffer(device_.get(), std::vector<float>(600, 2.0F));
    small_.input.buffer = small_.output.buffer = both.get();
    EXPECT_INVALID(small_.forward(), "input and output overlap");
    small_.output.offset = 239 * 4;
    EXPECT_INVALID(small_.forward(), "input and output overlap");
    EXPECT_EQ(readBuffer<float>(both.get(), 600), std::vector<float>(600, 2.0F));
    small_.output.offset = 240 * 4;
    EXPECT_EQ(small_.forward(), PCONV_SUCCESS) << pconvGetLastError();
    EXPECT_EQ(readBuffer<float>(both.get(), 240), std::vector<float>(240, 2.0F));
}

TEST_F(Forward, ChannelSlicesOfOneArrayAreNoOverlap) {
    // [2, 10, 5, 6]: channels 0 to 3 are the input, 4 to 9 the output, as in a dense block.
    small_.prepare();
    check(small_.forward());
    const std::vector<float> expected = small_.result();
    const std::vector<float> input = readBuffer<float>(small_.input_buffer.get(), 240);
    std::vector<float> all(600, 2.0F);
    std::copy(input.begin(), input.begin() + 120, all.begin());
    std::copy(input.begin() + 120, input.end(), all.begin() + 300);
    const OwnedBuffer both = makeBuffer(device_.get(), all);
    const int64_t strides[4] = {300, 30, 6, 1};
    for (PconvTensor* tensor : {&small_.input, &small_.output}) {
        tensor->buffer = both.get();
        std::copy(strides, strides + 4, tensor->strides);
    }
    small_.output.offset = 120 * 4;
    check(small_.forward());
    std::copy(expected.begin(), expected.begin() + 180, all.begin() + 120);
    std::copy(expected.begin() + 180, expected.end(), all.begin() + 420);
    EXPECT_EQ(readBuffer<float>(both.get(), 600), all);
    small_.output.offset = 90 * 4;
    EXPECT_INVALID(small_.forward(), "input and output overlap");
}

class Weights : public Forward {
  protected:
    PconvStatus set() { return pconvSetPartialConvWeights(small_.conv.get(), &small_.weight, &small_.bias); }
};

TEST_F(Weights, NullsAreNamed) {
    PconvPartialConv conv = small_.conv.get();
    EXPECT_INVALID(pconvSetPartialConvWeights(nullptr, &small_.weight, &small_.bias), "conv is null");
    EXPECT_INVALID(pconvSetPartialConvWeights(conv, nullptr, &small_.bias), "weight is null");
    EXPECT_INVALID(pconvSetPartialConvWeights(conv, &small_.weight, nullptr), "bias is null");
}

TEST_F(Weights, ABiasIsRefusedWhereThereIsNone) {
    PconvPartialConvDesc desc = smallDesc();
    desc.has_bias = 0;
    SmallConv other(device_.get(), desc);
    EXPECT_INVALID(pconvSetPartialConvWeights(other.conv.get(), &other.weight, &other.bias),
                   "bias is given; expected null where has_bias is 0");
    EXPECT_EQ(pconvSetPartialConvWeights(other.conv.get(), &other.weight, nullptr), PCONV_SUCCESS);
}

TEST_F(Weights, ShapeTypeStrideAndPlace) {
    PconvTensor right = small_.weight;
    small_.weight.dims[1] = 4;
    EXPECT_INVALID(set(), "weight has shape [6, 4, 3, 3]; expected [6, 2, 3, 3]");
    small_.weight = right;
    small_.weight.rank = 5;
    EXPECT_INVALID(set(), "weight has 5 dimensions; expected 4");
    small_.weight = right;
    small_.weight.data_type = PCONV_DATA_TYPE_BF16;
    EXPECT_INVALID(set(), "weight is BF16; expected F32");
    small_.weight = right;
    small_.weight.offset = 400;
    EXPECT_INVALID(set(), "weight needs 432 bytes from offset 400; the buffer has 432");
    small_.weight = right;
    const OwnedBuffer large = makeBuffer(device_.get(), 4096);
    small_.weight.buffer = large.get();
    const int64_t strides[4] = {20, 9, 3, 1};
    std::copy(strides, strides + 4, small_.weight.strides);
    EXPECT_INVALID(set(), "weight is not contiguous");
    small_.weight = right;
    right = small_.bias;
    small_.bias.dims[0] = 5;
    EXPECT_INVALID(set(), "bias has shape [5]; expected [6]");
    small_.bias.rank = -3;
    EXPECT_INVALID(set(), "bias has shape []; expected [6]");
    small_.bias = right;
    small_.bias.data_type = PCONV_DATA_TYPE_F16;
    EXPECT_INVALID(set(), "bias is F16; expected F32");
    small_.bias = right;
    small_.bias.strides[0] = 2;
    EXPECT_INVALID(set(), "bias has stride 2; expected 1");
    small_.bias = right;
    small_.bias.buffer = nullptr;
    EXPECT_INVALID(set(), "bias has no buffer");
    small_.bias = right;
    const OwnedDevice other = openDevice("cpu");
    const OwnedBuffer elsewhere = makeBuffer(other.get(), 4096);
    small_.bias.buffer = elsewhere.get();
    EXPECT_INVALID(set(), "bias lies on another device");
    small_.bias = right;
    small_.bias.offset = 2;
    EXPECT_INVALID(set(), "bias has offset 2; expected a multiple of 4");
    check(pconvComputeMaskUpdate(small_.update.get(), &small_.mask));
    expectRefused("the weights have not been set");
}

TEST_F(Weights, RefusedOnesLeaveThoseThatWereSet) {
    small_.prepare();
    check(small_.forward());
    const std::vector<float> before = small_.result();
    small_.weight.rank = 1;
    EXPECT_INVALID(set(), "weight has 1 dimensions");
    check(small_.forward());
    EXPECT_EQ(small_.result(), before);
}

}  // namespace
}  // namespace pconv::test
