// The masked operators and the backward pass of the C API, misused.
#include <functional>
#include <limits>

#include "support/api.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

PconvPartialConvDesc trainingDesc() {
    PconvPartialConvDesc desc = smallDesc();
    desc.training = 1;
    desc.implementation = "cpu:reference";
    return desc;
}

class Backward : public ::testing::Test {
  protected:
    Backward() {
        gradients_.grad_input = &grad_input_;
        gradients_.grad_weight = &grad_weight_;
        gradients_.grad_bias = &grad_bias_;
    }

    PconvStatus call() {
        return pconvBackwardPartialConv(small_.conv.get(), small_.update.get(), &small_.input, &small_.output,
                                        &gradients_);
    }

    void expectRefused(const std::string& part) {
        EXPECT_INVALID(call(), part);
        EXPECT_EQ(readBuffer<float>(memory_.get(), 400), std::vector<float>(400, 3.0F));
    }

    OwnedDevice device_ = openDevice("cpu");
    SmallConv small_{device_.get(), trainingDesc()};
    OwnedBuffer memory_ = makeBuffer(device_.get(), std::vector<float>(400, 3.0F));
    PconvTensor grad_input_ = makeTensor(memory_.get(), PCONV_DATA_TYPE_F32, {2, 4, 5, 6});
    PconvTensor grad_weight_ = makeTensor(memory_.get(), PCONV_DATA_TYPE_F32, {6, 2, 3, 3}, 960);
    PconvTensor grad_bias_ = makeTensor(memory_.get(), PCONV_DATA_TYPE_F32, {6}, 1392);
    PconvGradients gradients_ = pconvDefaultGradients();
};

TEST_F(Backward, NullsAreNamed) {
    small_.prepare();
    PconvPartialConv conv = small_.conv.get();
    PconvMaskUpdate update = small_.update.get();
    const PconvTensor* in = &small_.input;
    const PconvTensor* out = &small_.output;
    EXPECT_INVALID(pconvBackwardPartialConv(nullptr, update, in, out, &gradients_), "conv is null");
    EXPECT_INVALID(pconvBackwardPartialConv(conv, nullptr, in, out, &gradients_), "update is null");
    EXPECT_INVALID(pconvBackwardPartialConv(conv, update, nullptr, out, &gradients_), "input is null");
    EXPECT_INVALID(pconvBackwardPartialConv(conv, update, in, nullptr, &gradients_), "grad_output is null");
    EXPECT_INVALID(pconvBackwardPartialConv(conv, update, in, out, nullptr), "gradients is null");
    gradients_.struct_size = 1;
    expectRefused("gradients->struct_size is 1");
}

TEST_F(Backward, WeightsAndMaskComeFirst) {
    check(pconvComputeMaskUpdate(small_.update.get(), &small_.mask));
    expectRefused("the weights have not been set");
    SmallConv other(device_.get(), trainingDesc());
    check(pconvSetPartialConvWeights(other.conv.get(), &other.weight, &other.bias));
    std::swap(small_.conv, other.conv);
    std::swap(small_.update, other.update);
    expectRefused("the mask update has not been computed");
}

TEST_F(Backward, TensorsThatDoNotFit) {
    small_.prepare();
    grad_input_.dims[1] = 5;
    expectRefused("grad_input has shape [2, 5, 5, 6]; expected [2, 4, 5, 6]");
    grad_input_.dims[1] = 4;
    grad_weight_.data_type = PCONV_DATA_TYPE_F16;
    expectRefused("grad_weight is F16; expected F32");
    grad_weight_.data_type = PCONV_DATA_TYPE_F32;
    grad_bias_.dims[0] = 4;
    expectRefused("grad_bias has shape [4]; expected [6]");
    grad_bias_.dims[0] = 6;
    grad_bias_.offset = 1380;
    expectRefused("grad_bias and grad_weight overlap");
    grad_bias_.offset = 1392;
    grad_input_.buffer = small_.input.buffer;
    expectRefused("grad_input and input overlap");
    grad_input_.buffer = memory_.get();
    small_.output.dims[0] = 1;
    expectRefused("grad_output has shape [1, 6, 5, 6]");
    small_.output.dims[0] = 2;
    EXPECT_EQ(call(), PCONV_SUCCESS) << pconvGetLastError();
}

TEST_F(Backward, OnlyOfAConvolutionMadeForIt) {
    small_.prepare();
    SmallConv forward_only(device_.get());
    forward_only.prepare();
    EXPECT_INVALID(pconvBackwardPartialConv(forward_only.conv.get(), forward_only.update.get(), &small_.input,
                                            &small_.output, &gradients_),
                   "the convolution was made without training");
    PconvPartialConvDesc desc = trainingDesc();
    desc.has_bias = 0;
    SmallConv no_bias(device_.get(), desc);
    check(pconvComputeMaskUpdate(no_bias.update.get(), &no_bias.mask));
    check(pconvSetPartialConvWeights(no_bias.conv.get(), &no_bias.weight, nullptr));
    EXPECT_INVALID(pconvBackwardPartialConv(no_bias.conv.get(), no_bias.update.get(), &small_.input,
                                            &small_.output, &gradients_),
                   "grad_bias is given; expected null where has_bias is 0");
    desc = trainingDesc();
    desc.activation = PCONV_ACTIVATION_RELU;
    PconvPartialConv conv = nullptr;
    EXPECT_INVALID(pconvCreatePartialConv(device_.get(), &desc, &conv),
                   "activation is fused into a training convolution");
    EXPECT_EQ(readBuffer<float>(memory_.get(), 400), std::vector<float>(400, 3.0F));
}

PconvPartialConvDesc maskedDesc() {
    PconvPartialConvDesc desc = smallDesc();
    desc.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
    desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    desc.implementation = "cpu:reference";
    return desc;
}

TEST(MaskedConvolution, SettingsThatDoNotFit) {
    int64_t size[3] = {};
    PconvPartialConvDesc desc = maskedDesc();
    desc.kernel[1] = 2;
    EXPECT_INVALID(pconvGetOutputSize(&desc, size),
                   "kernel is 2; expected an odd size for a masked convolution");
    desc = maskedDesc();
    desc.mask_mode = PCONV_MASK_MODE_SINGLE_CHANNEL;
    EXPECT_INVALID(pconvGetOutputSize(&desc, size), "mask_mode is single-channel");
}

TEST(MaskedConvolution, TheMaskSideNeedsTheWeights) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer plane = makeBuffer(device.get(), std::vector<uint8_t>(60, 1));
    const OwnedBuffer values = makeBuffer(device.get(), std::vector<float>(108, 1.0F));
    PconvMaskSegment segment{makeTensor(plane.get(), PCONV_DATA_TYPE_U8, {2, 1, 5, 6}), 4};
    PconvMask mask = pconvDefaultMask();
    mask.segment_count = 1;
    mask.segments = &segment;
    const PconvPartialConvDesc desc = maskedDesc();
    OwnedMaskUpdate update;
    check(pconvCreateMaskUpdate(device.get(), &desc, &mask, update.out()));
    EXPECT_INVALID(pconvComputeMaskUpdate(update.get(), &mask),
                   "the mask update's weights have not been set");
    PconvTensor weight = makeTensor(values.get(), PCONV_DATA_TYPE_F32, {6, 2, 3, 3});
    EXPECT_INVALID(pconvSetMaskUpdateWeights(nullptr, &weight), "update is null");
    EXPECT_INVALID(pconvSetMaskUpdateWeights(update.get(), nullptr), "weight is null");
    weight.dims[3] = 5;
    EXPECT_INVALID(pconvSetMaskUpdateWeights(update.get(), &weight), "weight has shape [6, 2, 3, 5]");
    EXPECT_INVALID(pconvComputeMaskUpdate(update.get(), &mask),
                   "the mask update's weights have not been set");
    weight.dims[3] = 3;
    check(pconvSetMaskUpdateWeights(update.get(), &weight));
    check(pconvComputeMaskUpdate(update.get(), &mask));
    PconvTensor views[3] = {};
    check(pconvGetMaskUpdateTensors(update.get(), &views[0], &views[1], &views[2]));
    EXPECT_EQ(views[0].buffer, nullptr);
    EXPECT_EQ(views[2].buffer, nullptr);
    EXPECT_EQ(views[1].data_type, PCONV_DATA_TYPE_F32);
    EXPECT_EQ(views[1].dims[1], 6);
    EXPECT_EQ(readBuffer<float>(views[1].buffer, 360, views[1].offset), std::vector<float>(360, 1.0F));
    SmallConv small(device.get());
    EXPECT_INVALID(pconvSetMaskUpdateWeights(small.update.get(), &weight), "update has no weights");
}

// Its update has a plane for every output channel, made from the weights.
TEST(MaskedConvolution, AnUpdateOfOtherWeightsIsRefused) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer values = makeBuffer(device.get(), std::vector<float>(240, 1.0F));
    SmallConv small(device.get());
    small.segment.multiplicity = 4;
    const PconvPartialConvDesc masked = maskedDesc();
    OwnedPartialConv conv;
    check(pconvCreatePartialConv(device.get(), &masked, conv.out()));
    check(pconvSetPartialConvWeights(conv.get(), &small.weight, &small.bias));
    for (const auto& [out_channels, groups] : {std::pair<int64_t, int64_t>{2, 2}, {6, 1}}) {
        PconvPartialConvDesc desc = maskedDesc();
        desc.out_channels = out_channels;
        desc.groups = groups;
        OwnedMaskUpdate update;
        check(pconvCreateMaskUpdate(device.get(), &desc, &small.mask, update.out()));
        const PconvTensor weight =
            makeTensor(values.get(), PCONV_DATA_TYPE_F32, {out_channels, 4 / groups, 3, 3});
        check(pconvSetMaskUpdateWeights(update.get(), &weight));
        check(pconvComputeMaskUpdate(update.get(), &small.mask));
        EXPECT_INVALID(pconvForwardPartialConv(conv.get(), update.get(), &small.input, &small.output),
                       "update was made for another window or mask setting than this convolution's");
    }
}

PconvMaskedNormDesc normDesc() {
    PconvMaskedNormDesc desc = pconvDefaultMaskedNormDesc(2);
    desc.batch = 2;
    desc.channels = 3;
    desc.size[0] = 4;
    desc.size[1] = 5;
    return desc;
}

struct WrongNorm {
    const char* name;
    std::function<void(PconvMaskedNormDesc&)> spoil;
    const char* message;
};

std::ostream& operator<<(std::ostream& stream, const WrongNorm& wrong) {
    return stream << wrong.name;
}

const WrongNorm kWrongNorms[] = {
    {"StructSize", [](auto& d) { d.struct_size = 0; }, "desc->struct_size is 0"},
    {"Dims", [](auto& d) { d.spatial_dims = 4; }, "spatial_dims is 4"},
    {"Batch", [](auto& d) { d.batch = 0; }, "batch is 0"},
    {"Channels", [](auto& d) { d.channels = -3; }, "channels is -3"},
    {"Size", [](auto& d) { d.size[1] = 0; }, "size[1] is 0"},
    {"Elements", [](auto& d) { d.batch = d.size[0] = d.size[1] = INT32_MAX; }, "has more elements"},
    {"DataType", [](auto& d) { d.data_type = PCONV_DATA_TYPE_U8; }, "data_type is PCONV_DATA_TYPE_U8"},
    {"UnknownDataType", [](auto& d) { setEnum(d.data_type, 77); }, "data_type is 77"},
    {"Layout", [](auto& d) { setEnum(d.layout, 5); }, "layout is 5"},
    {"MaskType", [](auto& d) { setEnum(d.mask_type, 9); }, "mask_type is 9"},
    {"Eps", [](auto& d) { d.eps = -1; }, "eps is not"},
    {"Momentum", [](auto& d) { d.momentum = 1.5; }, "momentum is not in 0 to 1"},
    {"MomentumNan", [](auto& d) { d.momentum = std::numeric_limits<double>::quiet_NaN(); },
     "momentum is not in 0 to 1"}};

class MaskedNormSettings : public ::testing::TestWithParam<WrongNorm> {};

TEST_P(MaskedNormSettings, FaultIsNamedByBothOperators) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer plane = makeBuffer(device.get(), 40);
    PconvMaskSegment segment{makeTensor(plane.get(), PCONV_DATA_TYPE_U8, {2, 1, 4, 5}), 3};
    PconvMask mask = pconvDefaultMask();
    mask.segment_count = 1;
    mask.segments = &segment;
    PconvMaskedNormDesc desc = normDesc();
    GetParam().spoil(desc);
    PconvMaskedBatchNorm norm = nullptr;
    EXPECT_INVALID(pconvCreateMaskedBatchNorm(device.get(), &desc, &mask, &norm), GetParam().message);
    EXPECT_EQ(norm, nullptr);
    PconvMaskedSpatialMean mean = nullptr;
    EXPECT_INVALID(pconvCreateMaskedSpatialMean(device.get(), &desc, &mask, &mean), GetParam().message);
    EXPECT_EQ(mean, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Wrong, MaskedNormSettings, ::testing::ValuesIn(kWrongNorms),
                         [](const auto& test) { return std::string(test.param.name); });

class MaskedNormCalls : public ::testing::Test {
  protected:
    MaskedNormCalls() {
        mask_.segment_count = 1;
        mask_.segments = &segment_;
        parameters_.running_mean = parameters_.running_var = &vector_;
        check(pconvCreateMaskedBatchNorm(device_.get(), &desc_, &mask_, norm_.out()));
        check(pconvCreateMaskedSpatialMean(device_.get(), &desc_, &mask_, mean_.out()));
    }

    PconvStatus normalize() {
        return pconvForwardMaskedBatchNorm(norm_.get(), &mask_, &input_, &parameters_, &output_);
    }
    PconvStatus average() {
        return pconvForwardMaskedSpatialMean(mean_.get(), &mask_, &input_, &matrix_, &mask_matrix_);
    }
    // After a refused call.
    void expectUntouched() {
        EXPECT_EQ(readBuffer<float>(output_memory_.get(), 200), std::vector<float>(200, -7.0F));
    }

    OwnedDevice device_ = openDevice("cpu");
    PconvMaskedNormDesc desc_ = normDesc();
    OwnedBuffer plane_ = makeBuffer(device_.get(), std::vector<uint8_t>(40, 1));
    OwnedBuffer input_memory_ = makeBuffer(device_.get(), ramp(120, 0.25F, -1));
    OwnedBuffer output_memory_ = makeBuffer(device_.get(), std::vector<float>(200, -7.0F));
    OwnedBuffer vector_memory_ = makeBuffer(device_.get(), std::vector<float>(3, 1.0F));
    PconvMaskSegment segment_{makeTensor(plane_.get(), PCONV_DATA_TYPE_U8, {2, 1, 4, 5}), 3};
    PconvMask mask_ = pconvDefaultMask();
    PconvTensor input_ = makeTensor(input_memory_.get(), PCONV_DATA_TYPE_F32, {2, 3, 4, 5});
    PconvTensor output_ = makeTensor(output_memory_.get(), PCONV_DATA_TYPE_F32, {2, 3, 4, 5});
    PconvTensor matrix_ = makeTensor(output_memory_.get(), PCONV_DATA_TYPE_F32, {2, 3}, 480);
    PconvTensor mask_matrix_ = makeTensor(output_memory_.get(), PCONV_DATA_TYPE_F32, {2, 3}, 640);
    PconvTensor vector_ = makeTensor(vector_memory_.get(), PCONV_DATA_TYPE_F32, {3});
    PconvBatchNormParameters parameters_ = pconvDefaultBatchNormParameters();
    Owned<PconvMaskedBatchNorm, pconvReleaseMaskedBatchNorm> norm_;
    Owned<PconvMaskedSpatialMean, pconvReleaseMaskedSpatialMean> mean_;
};

TEST_F(MaskedNormCalls, NullsAreNamed) {
    PconvMaskedBatchNorm norm = nullptr;
    EXPECT_INVALID(pconvCreateMaskedBatchNorm(nullptr, &desc_, &mask_, &norm), "device is null");
    EXPECT_INVALID(pconvCreateMaskedBatchNorm(device_.get(), nullptr, &mask_, &norm), "desc is null");
    EXPECT_INVALID(pconvCreateMaskedBatchNorm(device_.get(), &desc_, nullptr, &norm), "mask is null");
    EXPECT_INVALID(pconvCreateMaskedBatchNorm(device_.get(), &desc_, &mask_, nullptr), "norm is null");
    EXPECT_EQ(norm, nullptr);
    PconvMaskedSpatialMean mean = nullptr;
    EXPECT_INVALID(pconvCreateMaskedSpatialMean(nullptr, &desc_, &mask_, &mean), "device is null");
    EXPECT_INVALID(pconvCreateMaskedSpatialMean(device_.get(), nullptr, &mask_, &mean), "desc is null");
    EXPECT_INVALID(pconvCreateMaskedSpatialMean(device_.get(), &desc_, nullptr, &mean), "mask is null");
    EXPECT_INVALID(pconvCreateMaskedSpatialMean(device_.get(), &desc_, &mask_, nullptr), "mean is null");
    EXPECT_EQ(mean, nullptr);
    EXPECT_INVALID(pconvForwardMaskedBatchNorm(nullptr, &mask_, &input_, &parameters_, &output_),
                   "norm is null");
    EXPECT_INVALID(pconvForwardMaskedBatchNorm(norm_.get(), nullptr, &input_, &parameters_, &output_),
                   "mask is null");
    EXPECT_INVALID(pconvForwardMaskedBatchNorm(norm_.get(), &mask_, nullptr, &parameters_, &output_),
                   "input is null");
    EXPECT_INVALID(pconvForwardMaskedBatchNorm(norm_.get(), &mask_, &input_, nullptr, &output_),
                   "parameters is null");
    EXPECT_INVALID(pconvForwardMaskedBatchNorm(norm_.get(), &mask_, &input_, &parameters_, nullptr),
                   "output is null");
    EXPECT_INVALID(pconvForwardMaskedSpatialMean(nullptr, &mask_, &input_, &matrix_, nullptr),
                   "mean is null");
    EXPECT_INVALID(pconvForwardMaskedSpatialMean(mean_.get(), nullptr, &input_, &matrix_, nullptr),
                   "mask is null");
    EXPECT_INVALID(pconvForwardMaskedSpatialMean(mean_.get(), &mask_, nullptr, &matrix_, nullptr),
                   "input is null");
    EXPECT_INVALID(pconvForwardMaskedSpatialMean(mean_.get(), &mask_, &input_, nullptr, nullptr),
                   "output is null");
    pconvReleaseMaskedBatchNorm(nullptr);
    pconvReleaseMaskedSpatialMean(nullptr);
    expectUntouched();
}

TEST_F(MaskedNormCalls, ParametersThatDoNotFit) {
    parameters_.weight = &vector_;
    EXPECT_INVALID(normalize(), "weight and bias: expected both or neither");
    parameters_.weight = nullptr;
    parameters_.running_var = nullptr;
    EXPECT_INVALID(normalize(), "running_mean and running_var: expected both or neither");
    parameters_.running_mean = nullptr;
    EXPECT_INVALID(normalize(), "running_mean and running_var are null; expected both without training");
    parameters_.running_mean = parameters_.running_var = &vector_;
    vector_.dims[0] = 2;
    EXPECT_INVALID(normalize(), "running_mean has shape [2]; expected [3]");
    vector_.dims[0] = 3;
    parameters_.struct_size = 7;
    EXPECT_INVALID(normalize(), "parameters->struct_size is 7");
    expectUntouched();
}

TEST_F(MaskedNormCalls, TensorsThatDoNotFit) {
    input_.dims[1] = 4;
    EXPECT_INVALID(normalize(), "input has shape [2, 4, 4, 5]; expected [2, 3, 4, 5]");
    EXPECT_INVALID(average(), "input has shape [2, 4, 4, 5]; expected [2, 3, 4, 5]");
    input_.dims[1] = 3;
    output_.data_type = PCONV_DATA_TYPE_U8;
    EXPECT_INVALID(normalize(), "output is U8; expected F32");
    output_.data_type = PCONV_DATA_TYPE_F32;
    output_.buffer = input_memory_.get();
    output_.strides[0] = 61;
    output_.strides[1] = 20;
    output_.strides[2] = 5;
    output_.strides[3] = 1;
    EXPECT_INVALID(normalize(), "output needs 484 bytes");
    matrix_.dims[1] = 4;
    EXPECT_INVALID(average(), "output has shape [2, 4]; expected [2, 3]");
    matrix_.dims[1] = 3;
    matrix_.rank = 3;
    EXPECT_INVALID(average(), "output has 3 dimensions; expected 2");
    matrix_.rank = 2;
    mask_matrix_.offset = 484;
    EXPECT_INVALID(average(), "output and output_mask overlap");
    mask_.polarity = PCONV_MASK_HOLE_IS_ONE;
    EXPECT_INVALID(average(), "mask has another form than the one this operator was made for");
    expectUntouched();
}

TEST_F(MaskedNormCalls, ObjectsOfAnotherDevice) {
    const OwnedDevice other = openDevice("cpu");
    const OwnedBuffer elsewhere = makeBuffer(other.get(), 480);
    input_.buffer = elsewhere.get();
    EXPECT_INVALID(normalize(), "input lies on another device");
    EXPECT_INVALID(average(), "input lies on another device");
    expectUntouched();
}

}  // namespace
}  // namespace pconv::test
