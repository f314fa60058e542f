// The descriptor of a partial convolution: every setting that does not fit is named, by every function that
// takes one.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>

#include "pconv/pconv.hpp"
#include "support/api.h"
#include "support/environment.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

struct WrongSetting {
    const char* name;
    std::function<void(PconvPartialConvDesc&)> spoil;
    const char* message;
};

std::ostream& operator<<(std::ostream& stream, const WrongSetting& wrong) {
    return stream << wrong.name;
}

constexpr int64_t kHuge = int64_t{1} << 31;

const WrongSetting kWrongSettings[] = {
    {"StructSizeZero", [](auto& d) { d.struct_size = 0; }, "desc->struct_size is 0"},
    {"StructSizeHuge", [](auto& d) { d.struct_size = 1 << 30; }, "desc->struct_size is 1073741824"},
    {"NoDims", [](auto& d) { d.spatial_dims = 0; }, "spatial_dims is 0; expected 1, 2 or 3"},
    {"FourDims", [](auto& d) { d.spatial_dims = 4; }, "spatial_dims is 4"},
    {"NegativeDims", [](auto& d) { d.spatial_dims = -1; }, "spatial_dims is -1"},
    {"BatchZero", [](auto& d) { d.batch = 0; }, "batch is 0; expected 1 to"},
    {"BatchNegative", [](auto& d) { d.batch = -2; }, "batch is -2"},
    {"BatchHuge", [](auto& d) { d.batch = kHuge; }, "batch is 2147483648"},
    {"InChannelsZero", [](auto& d) { d.in_channels = 0; }, "in_channels is 0"},
    {"InChannelsHuge", [](auto& d) { d.in_channels = INT64_MAX; }, "in_channels is 9223372036854775807"},
    {"OutChannelsNegative", [](auto& d) { d.out_channels = INT64_MIN; },
     "out_channels is -9223372036854775808"},
    {"GroupsZero", [](auto& d) { d.groups = 0; }, "groups is 0"},
    {"GroupsNotDividingInput", [](auto& d) { d.groups = 3; },
     "groups is 3; expected a divisor of in_channels 4 and out_channels 6"},
    {"GroupsNotDividingOutput", [](auto& d) { d.groups = 4; }, "groups is 4"},
    {"GroupsNegative", [](auto& d) { d.groups = -2; }, "groups is -2"},
    {"InputSizeZero", [](auto& d) { d.input_size[1] = 0; }, "input_size[1] is 0"},
    {"InputSizeNegative", [](auto& d) { d.input_size[0] = -5; }, "input_size[0] is -5"},
    {"InputSizeHuge", [](auto& d) { d.input_size[0] = kHuge; }, "input_size[0] is 2147483648"},
    {"KernelZero", [](auto& d) { d.kernel[0] = 0; }, "kernel[0] is 0"},
    {"KernelNegative", [](auto& d) { d.kernel[1] = -3; }, "kernel[1] is -3"},
    {"KernelTooWide", [](auto& d) { d.kernel[1] = 9; }, "kernel[1] with its dilation spans 9 elements"},
    {"StrideZero", [](auto& d) { d.stride[0] = 0; }, "stride[0] is 0"},
    {"StrideNegative", [](auto& d) { d.stride[1] = -1; }, "stride[1] is -1"},
    {"PaddingNegative", [](auto& d) { d.padding[0] = -1; }, "padding[0] is -1; expected 0 to"},
    {"PaddingHuge", [](auto& d) { d.padding[0] = INT64_MAX; }, "padding[0] is"},
    {"PaddingEndNegative", [](auto& d) { d.padding_end[1] = -2; }, "padding_end[1] is -2; expected 0 to"},
    {"PaddingEndHuge", [](auto& d) { d.padding_end[0] = INT64_MAX; }, "padding_end[0] is"},
    {"PaddingMode", [](auto& d) { setEnum(d.padding_mode, 4); }, "padding_mode is 4; expected 0 to 3"},
    {"ReflectsAllOfTheInput",
     [](auto& d) {
         d.padding_mode = PCONV_PADDING_MODE_REFLECT;
         d.padding[0] = 5;
     },
     "padding[0] is 5; expected less than the input's 5 to reflect"},
    {"ReflectsAllOfTheInputBehind",
     [](auto& d) {
         d.padding_mode = PCONV_PADDING_MODE_REFLECT;
         d.padding_end[1] = 6;
     },
     "padding_end[1] is 6; expected less than the input's 6 to reflect"},
    {"WrapsMoreThanOnce",
     [](auto& d) {
         d.padding_mode = PCONV_PADDING_MODE_CIRCULAR;
         d.padding_end[0] = 6;
     },
     "padding_end[0] is 6; expected at most the input's 5 to wrap around"},
    {"PaddedInputHuge",
     [](auto& d) {
         d.padding_mode = PCONV_PADDING_MODE_REPLICATE;
         d.padding[0] = INT32_MAX;
         d.stride[0] = 100;
     },
     "the padded input_size[0] is 4294967299"},
    {"PaddedInputTooManyElements",
     [](auto& d) {
         d.padding_mode = PCONV_PADDING_MODE_REPLICATE;
         d.padding[0] = d.padding[1] = 1 << 29;
         d.stride[0] = d.stride[1] = 1 << 20;
     },
     "the padded input has more elements than 64 bits can count"},
    {"DilationZero", [](auto& d) { d.dilation[0] = 0; }, "dilation[0] is 0"},
    {"DilationTooWide", [](auto& d) { d.dilation[0] = 4; },
     "kernel[0] with its dilation spans 9 elements; expected at most the padded input's 7"},
    {"DilationHuge",
     [](auto& d) {
         d.dilation[0] = INT32_MAX;
         d.kernel[0] = INT32_MAX;
     },
     "kernel[0] with its dilation spans"},
    {"OutputSizeHuge",
     [](auto& d) {
         d.input_size[0] = INT32_MAX;
         d.padding[0] = INT32_MAX;
     },
     "output_size[0] is"},
    {"DataTypeU8", [](auto& d) { d.data_type = PCONV_DATA_TYPE_U8; }, "data_type is PCONV_DATA_TYPE_U8"},
    {"DataTypeUnknown", [](auto& d) { setEnum(d.data_type, 99); }, "data_type is 99"},
    {"InputLayout", [](auto& d) { setEnum(d.input_layout, 2); }, "input_layout is 2; expected 0 to 1"},
    {"OutputLayout", [](auto& d) { setEnum(d.output_layout, 7); }, "output_layout is 7"},
    {"MaskType", [](auto& d) { setEnum(d.mask_type, 3); }, "mask_type is 3; expected 0 to 2"},
    {"MaskMode", [](auto& d) { setEnum(d.mask_mode, 2); }, "mask_mode is 2"},
    {"MaskWindow", [](auto& d) { setEnum(d.mask_window, 2); }, "mask_window is 2"},
    {"Normalization", [](auto& d) { setEnum(d.normalization, 3); }, "normalization is 3"},
    {"Activation", [](auto& d) { setEnum(d.activation, 4); }, "activation is 4; expected 0 to 3"},
    {"Math", [](auto& d) { setEnum(d.math, 2); }, "math is 2"},
    {"NegativeEnum", [](auto& d) { setEnum(d.math, -1); }, "math is"},
    {"EpsNegative", [](auto& d) { d.eps = -1e-8; }, "eps is not a finite number of at least 0"},
    {"EpsNan", [](auto& d) { d.eps = std::nan(""); }, "eps is not a finite number"},
    {"EpsInfinite", [](auto& d) { d.eps = std::numeric_limits<double>::infinity(); }, "eps is not"},
    {"EpsBeyondFloat", [](auto& d) { d.eps = 1e39; }, "eps is larger than a float can hold"},
    {"SlopeNan", [](auto& d) { d.negative_slope = std::nanf(""); }, "negative_slope is not a finite number"},
    {"InputTooManyElements",
     [](auto& d) {
         d.batch = INT32_MAX;
         d.input_size[0] = INT32_MAX;
         d.input_size[1] = 64;
     },
     "the input has more elements than 64 bits can count"},
    {"OutputTooManyElements",
     [](auto& d) {
         d.batch = d.in_channels = d.groups = 1;
         d.out_channels = INT32_MAX;
         d.input_size[0] = d.input_size[1] = 65536;
     },
     "the output has more elements"},
    {"WeightTooManyElements",
     [](auto& d) {
         d.groups = 1;
         d.in_channels = d.out_channels = 1 << 30;
         d.kernel[0] = d.kernel[1] = 5;
     },
     "the weight has more elements"},
};

class Descriptor : public ::testing::TestWithParam<WrongSetting> {};

TEST_P(Descriptor, FaultIsNamedByEveryFunctionThatTakesOne) {
    const OwnedDevice device = openDevice("cpu");
    PconvPartialConvDesc desc = smallDesc();
    GetParam().spoil(desc);
    int64_t size[3] = {-1, -2, -3};
    EXPECT_INVALID(pconvGetOutputSize(&desc, size), GetParam().message);
    EXPECT_EQ(size[0], -1);
    EXPECT_EQ(size[1], -2);
    EXPECT_EQ(size[2], -3);
    PconvImplementationInfo info = pconvDefaultImplementationInfo();
    info.supported = 77;
    EXPECT_INVALID(pconvGetImplementationInfo(device.get(), 0, &desc, &info), GetParam().message);
    EXPECT_EQ(info.supported, 77);
    PconvMaskUpdate update = nullptr;
    const PconvMask mask = pconvDefaultMask();
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &desc, &mask, &update), GetParam().message);
    EXPECT_EQ(update, nullptr);
    PconvPartialConv conv = nullptr;
    EXPECT_INVALID(pconvCreatePartialConv(device.get(), &desc, &conv), GetParam().message);
    EXPECT_EQ(conv, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Wrong, Descriptor, ::testing::ValuesIn(kWrongSettings),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(Descriptor, OutputSizeIsTorchs) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(3);
    const int64_t input[3] = {7, 22, 31};
    const int64_t kernel[3] = {1, 3, 7};
    const int64_t stride[3] = {1, 2, 3};
    const int64_t padding[3] = {0, 1, 4};
    const int64_t dilation[3] = {1, 2, 3};
    for (int i = 0; i < 3; ++i) {
        desc.input_size[i] = input[i];
        desc.kernel[i] = kernel[i];
        desc.stride[i] = stride[i];
        desc.padding[i] = padding[i];
        desc.dilation[i] = dilation[i];
    }
    int64_t size[3] = {};
    check(pconvGetOutputSize(&desc, size));
    EXPECT_EQ(size[0], 7);
    EXPECT_EQ(size[1], 10);
    EXPECT_EQ(size[2], 7);
    EXPECT_INVALID(pconvGetOutputSize(nullptr, size), "desc is null");
    EXPECT_INVALID(pconvGetOutputSize(&desc, nullptr), "output_size is null");
}

TEST(Descriptor, PaddingBehindIsThatInFrontUnlessSet) {
    PconvPartialConvDesc desc = smallDesc();
    EXPECT_EQ(desc.padding_end[0], PCONV_PADDING_AS_IN_FRONT);
    int64_t size[3] = {};
    desc.padding_end[0] = 3;
    desc.padding_end[1] = 0;
    check(pconvGetOutputSize(&desc, size));
    EXPECT_EQ(size[0], 5 + 1 + 3 - 2);
    EXPECT_EQ(size[1], 6 + 1 - 2);
    // A caller of the version without the field has it as well.
    desc.struct_size = offsetof(PconvPartialConvDesc, padding_end);
    check(pconvGetOutputSize(&desc, size));
    EXPECT_EQ(size[0], 5);
    EXPECT_EQ(size[1], 6);
}

TEST(Descriptor, SameKeepsTheSizeForEveryKernelAndDilation) {
    for (const int64_t kernel : {1, 2, 3, 4, 7, 8})
        for (const int64_t dilation : {1, 2, 3}) {
            const auto desc = PartialConvDesc::same(1, 2, 3, {32, 5}, kernel, 1, dilation);
            EXPECT_EQ(desc.outputSize(), (std::vector<int64_t>{32, 5}))
                << kernel << " dilated by " << dilation;
            // PyTorch's 'same' has the odd element behind.
            const bool uneven = dilation * (kernel - 1) % 2 != 0;
            EXPECT_EQ(desc.padding_end[0], uneven ? desc.padding[0] + 1 : PCONV_PADDING_AS_IN_FRONT);
        }
    EXPECT_EQ(PartialConvDesc::same(1, 2, 3, {32}, 3, 2).outputSize(), std::vector<int64_t>{16});
    // A padding set afterwards is that of both ends.
    auto changed = PartialConvDesc::same(1, 2, 3, {32}, 3);
    changed.padding[0] = 0;
    EXPECT_EQ(changed.outputSize(), std::vector<int64_t>{30});
}

TEST(Descriptor, DefaultsNeedOnlyASize) {
    for (int32_t dims = 1; dims <= 3; ++dims) {
        PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(dims);
        int64_t size[3] = {};
        EXPECT_INVALID(pconvGetOutputSize(&desc, size), "input_size[0] is 0");
        for (int32_t d = 0; d < dims; ++d) desc.input_size[d] = 4 + d;
        check(pconvGetOutputSize(&desc, size));
        for (int32_t d = 0; d < 3; ++d) EXPECT_EQ(size[d], d < dims ? 4 + d : 1);
    }
}

TEST(Descriptor, AnUnknownFieldOfANewerVersionIsRefusedUnlessZero) {
    struct Newer {
        PconvPartialConvDesc known = smallDesc();
        uint64_t unknown = 1;
    } newer;
    newer.known.struct_size = sizeof newer;
    int64_t size[3] = {};
    EXPECT_INVALID(pconvGetOutputSize(&newer.known, size), "desc sets a field that this version");
    newer.unknown = 0;
    EXPECT_EQ(pconvGetOutputSize(&newer.known, size), PCONV_SUCCESS);
}

TEST(Implementations, AreListedAndSayWhyTheyDecline) {
    const OwnedDevice device = openDevice("cpu");
    int32_t count = 0;
    check(pconvGetImplementationCount(device.get(), &count));
    ASSERT_GE(count, 1);
    PconvPartialConvDesc desc = smallDesc();
    for (int32_t i = 0; i < count; ++i) {
        PconvImplementationInfo info = pconvDefaultImplementationInfo();
        check(pconvGetImplementationInfo(device.get(), i, &desc, &info));
        EXPECT_EQ(info.supported, 1) << info.name << ": " << info.reason;
        EXPECT_STREQ(info.reason, "");
        EXPECT_EQ(std::string(info.name).rfind("cpu:", 0), 0U) << info.name;
    }
}

TEST(Implementations, MisuseIsNamed) {
    const OwnedDevice device = openDevice("cpu");
    PconvPartialConvDesc desc = smallDesc();
    PconvImplementationInfo info = pconvDefaultImplementationInfo();
    info.supported = 77;
    int32_t count = 77;
    EXPECT_INVALID(pconvGetImplementationCount(nullptr, &count), "device is null");
    EXPECT_INVALID(pconvGetImplementationCount(device.get(), nullptr), "count is null");
    EXPECT_EQ(count, 77);
    EXPECT_INVALID(pconvGetImplementationInfo(nullptr, 0, &desc, &info), "device is null");
    EXPECT_INVALID(pconvGetImplementationInfo(device.get(), 0, nullptr, &info), "desc is null");
    EXPECT_INVALID(pconvGetImplementationInfo(device.get(), 0, &desc, nullptr), "info is null");
    EXPECT_INVALID(pconvGetImplementationInfo(device.get(), -1, &desc, &info), "index is -1");
    EXPECT_INVALID(pconvGetImplementationInfo(device.get(), 1000, &desc, &info), "index is 1000; there are");
    info.struct_size = 1;
    EXPECT_INVALID(pconvGetImplementationInfo(device.get(), 0, &desc, &info), "info->struct_size is 1");
    EXPECT_EQ(info.supported, 77);
}

TEST(Implementations, OnePinnedIsTheOneMade) {
    const OwnedDevice device = openDevice("cpu");
    PconvPartialConvDesc desc = smallDesc();
    desc.implementation = "cpu:reference";
    OwnedPartialConv conv;
    check(pconvCreatePartialConv(device.get(), &desc, conv.out()));
    const char* name = nullptr;
    check(pconvGetPartialConvImplementation(conv.get(), &name));
    EXPECT_STREQ(name, "cpu:reference");

    desc.implementation = nullptr;
    const ScopedEnvironment variable("PCONV_IMPL", "cpu:reference");
    conv.reset();
    check(pconvCreatePartialConv(device.get(), &desc, conv.out()));
    check(pconvGetPartialConvImplementation(conv.get(), &name));
    EXPECT_STREQ(name, "cpu:reference");
}

TEST(Implementations, OnePinnedThatIsNotThereIsNamedWithThoseThatAre) {
    const OwnedDevice device = openDevice("cpu");
    PconvPartialConvDesc desc = smallDesc();
    desc.implementation = "cpu:magic\n";
    PconvPartialConv conv = nullptr;
    EXPECT_FAULT(pconvCreatePartialConv(device.get(), &desc, &conv), PCONV_ERROR_UNSUPPORTED,
                 "no implementation 'cpu:magic ' on this device; it has ");
    EXPECT_FAULT(pconvCreatePartialConv(device.get(), &desc, &conv), PCONV_ERROR_UNSUPPORTED,
                 "cpu:reference");
    desc.implementation = nullptr;
    const ScopedEnvironment variable("PCONV_IMPL", "vulkan:nothing");
    EXPECT_FAULT(pconvCreatePartialConv(device.get(), &desc, &conv), PCONV_ERROR_UNSUPPORTED,
                 "no implementation 'vulkan:nothing'");
    EXPECT_EQ(conv, nullptr);
}

TEST(PartialConv, CreationMisuseIsNamed) {
    const OwnedDevice device = openDevice("cpu");
    const PconvPartialConvDesc desc = smallDesc();
    PconvPartialConv conv = nullptr;
    EXPECT_INVALID(pconvCreatePartialConv(nullptr, &desc, &conv), "device is null");
    EXPECT_INVALID(pconvCreatePartialConv(device.get(), nullptr, &conv), "desc is null");
    EXPECT_INVALID(pconvCreatePartialConv(device.get(), &desc, nullptr), "conv is null");
    const char* name = "before";
    EXPECT_INVALID(pconvGetPartialConvImplementation(nullptr, &name), "conv is null");
    EXPECT_STREQ(name, "before");
    OwnedPartialConv made;
    check(pconvCreatePartialConv(device.get(), &desc, made.out()));
    EXPECT_INVALID(pconvGetPartialConvImplementation(made.get(), nullptr), "name is null");
    pconvReleasePartialConv(nullptr);
}

}  // namespace
}  // namespace pconv::test
