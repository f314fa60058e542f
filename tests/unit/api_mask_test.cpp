// Masks and mask updates of the C API: misuse is named, and nothing is changed by it.
#include <functional>

#include "support/api.h"
#include "support/small_conv.h"

namespace pconv::test {
namespace {

PconvPartialConvDesc multiDesc() {
    PconvPartialConvDesc desc = smallDesc();
    desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    return desc;
}

// A mask of any segments over one buffer that is large enough for all of them.
struct TestMask {
    PconvMask mask = pconvDefaultMask();
    std::vector<PconvMaskSegment> segments;

    TestMask(PconvBuffer buffer, const std::vector<std::pair<int64_t, int64_t>>& planes_and_multiplicity) {
        for (const auto& [planes, multiplicity] : planes_and_multiplicity)
            segments.push_back({makeTensor(buffer, PCONV_DATA_TYPE_U8, {2, planes, 5, 6}), multiplicity});
        mask.segment_count = static_cast<int32_t>(segments.size());
        mask.segments = segments.data();
    }
};

struct WrongMask {
    const char* name;
    bool multi_channel;
    std::vector<std::pair<int64_t, int64_t>> segments;
    std::function<void(TestMask&)> spoil;
    const char* message;
};

std::ostream& operator<<(std::ostream& stream, const WrongMask& wrong) {
    return stream << wrong.name;
}

void nothing(TestMask& /*mask*/) {}

const WrongMask kWrongMasks[] = {
    {"StructSize", false, {{1, 1}}, [](TestMask& m) { m.mask.struct_size = 2; }, "mask->struct_size is 2"},
    {"Polarity", false, {{1, 1}}, [](TestMask& m) { setEnum(m.mask.polarity, 2); }, "mask->polarity is 2"},
    {"NoSegments", false, {{1, 1}}, [](TestMask& m) { m.mask.segment_count = 0; }, "mask has no segments"},
    {"NegativeSegments",
     false,
     {{1, 1}},
     [](TestMask& m) { m.mask.segment_count = -1; },
     "mask has no segments"},
    {"NullSegments", false, {{1, 1}}, [](TestMask& m) { m.mask.segments = nullptr; }, "mask has no segments"},
    {"TooManySegments",
     true,
     {{1, 1}},
     [](TestMask& m) { m.mask.segment_count = 5; },
     "mask has 5 segments; expected at most in_channels, 4"},
    {"TwoSegmentsForOneChannel", false, {{1, 1}, {1, 1}}, nothing, "mask has 2 segments; expected one"},
    {"TwoPlanesForOneChannel", false, {{2, 1}}, nothing, "mask has 2 planes; expected one"},
    {"HugePlanesForOneChannel",
     false,
     {{INT32_MAX, INT32_MAX}},
     nothing,
     "mask has 2147483647 planes; expected one"},
    {"TooFewChannels",
     true,
     {{1, 3}},
     nothing,
     "mask planes times multiplicity make 3 channels; expected in_channels, 4"},
    {"TooManyChannels", true, {{2, 1}, {3, 1}}, nothing, "make 5 channels; expected in_channels, 4"},
    {"HugeMultiplicity", true, {{INT32_MAX, INT32_MAX}}, nothing, "expected in_channels, 4"},
    {"MultiplicityZero", true, {{4, 0}}, nothing, "mask segment 0 multiplicity is 0"},
    {"MultiplicityNegative", true, {{4, -1}}, nothing, "mask segment 0 multiplicity is -1"},
    {"NoPlanes", true, {{0, 4}}, nothing, "mask segment 0 plane count is 0"},
    {"NegativePlanes", true, {{-4, 1}}, nothing, "mask segment 0 plane count is -4"},
    {"DataTypeF32",
     false,
     {{1, 1}},
     [](TestMask& m) { m.segments[0].planes.data_type = PCONV_DATA_TYPE_F32; },
     "mask segment 0 has the wrong data type; expected U8 or BITS for a binary mask"},
    {"DataTypeUnknown",
     false,
     {{1, 1}},
     [](TestMask& m) { setEnum(m.segments[0].planes.data_type, 44); },
     "mask segment 0 has the wrong data type"},
    {"Rank",
     false,
     {{1, 1}},
     [](TestMask& m) { m.segments[0].planes.rank = 3; },
     "mask segment 0 has 3 dimensions; expected 4"},
    {"RankHuge",
     false,
     {{1, 1}},
     [](TestMask& m) { m.segments[0].planes.rank = 1 << 30; },
     "dimensions; expected 4"},
    {"Batch",
     false,
     {{1, 1}},
     [](TestMask& m) { m.segments[0].planes.dims[0] = 3; },
     "mask segment 0 has batch 3; expected 1 or 2"},
    {"BatchesDiffer",
     true,
     {{2, 1}, {2, 1}},
     [](TestMask& m) { m.segments[1].planes.dims[0] = 1; },
     "mask segment 1 has batch 1; expected that of segment 0, 2"},
    {"Height",
     false,
     {{1, 1}},
     [](TestMask& m) { m.segments[0].planes.dims[2] = 6; },
     "mask segment 0 has size 6 in spatial dimension 0; expected the input's 5"},
    {"Width",
     true,
     {{1, 3}, {1, 1}},
     [](TestMask& m) { m.segments[1].planes.dims[3] = -6; },
     "mask segment 1 has size -6 in spatial dimension 1"},
};

class Mask : public ::testing::TestWithParam<WrongMask> {};

TEST_P(Mask, FaultIsNamed) {
    const WrongMask& wrong = GetParam();
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer memory = makeBuffer(device.get(), std::vector<uint8_t>(2 * 8 * 5 * 6, 1));
    const PconvPartialConvDesc desc = wrong.multi_channel ? multiDesc() : smallDesc();
    TestMask made(memory.get(), wrong.segments);
    wrong.spoil(made);
    PconvMaskUpdate update = nullptr;
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &desc, &made.mask, &update), wrong.message);
    EXPECT_EQ(update, nullptr);

    // The same of a mask that is to be computed.
    TestMask right(memory.get(), {{wrong.multi_channel ? 4 : 1, 1}});
    OwnedMaskUpdate prepared;
    check(pconvCreateMaskUpdate(device.get(), &desc, &right.mask, prepared.out()));
    EXPECT_INVALID(pconvComputeMaskUpdate(prepared.get(), &made.mask), wrong.message);
}

INSTANTIATE_TEST_SUITE_P(Wrong, Mask, ::testing::ValuesIn(kWrongMasks),
                         [](const auto& test) { return std::string(test.param.name); });

TEST(MaskUpdate, AMaskMustBeThereExactlyWhereTheDescriptorSaysSo) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer memory = makeBuffer(device.get(), std::vector<uint8_t>(60, 1));
    const TestMask mask(memory.get(), {{1, 1}});
    PconvPartialConvDesc desc = smallDesc();
    PconvMaskUpdate update = nullptr;
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &desc, nullptr, &update), "mask is null");
    desc.mask_type = PCONV_MASK_TYPE_NONE;
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &desc, &mask.mask, &update),
                   "mask is given; expected null where mask_type is PCONV_MASK_TYPE_NONE");
    desc.mask_type = PCONV_MASK_TYPE_FRACTIONAL;
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &desc, &mask.mask, &update),
                   "expected F32 for a fractional mask");
    EXPECT_EQ(update, nullptr);

    desc.mask_type = PCONV_MASK_TYPE_NONE;
    OwnedMaskUpdate none;
    check(pconvCreateMaskUpdate(device.get(), &desc, nullptr, none.out()));
    EXPECT_INVALID(pconvComputeMaskUpdate(none.get(), &mask.mask), "mask is given; expected null");
    EXPECT_EQ(pconvComputeMaskUpdate(none.get(), nullptr), PCONV_SUCCESS);
}

TEST(MaskUpdate, SingleChannelModeDoesNotLookAtTheMultiplicity) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer memory = makeBuffer(device.get(), std::vector<uint8_t>(60, 1));
    const PconvPartialConvDesc desc = smallDesc();
    const TestMask mask(memory.get(), {{1, 0}});
    OwnedMaskUpdate update;
    EXPECT_EQ(pconvCreateMaskUpdate(device.get(), &desc, &mask.mask, update.out()), PCONV_SUCCESS)
        << pconvGetLastError();
}

TEST(MaskUpdate, NullsAreNamed) {
    const OwnedDevice device = openDevice("cpu");
    SmallConv small(device.get());
    PconvMaskUpdate update = nullptr;
    EXPECT_INVALID(pconvCreateMaskUpdate(nullptr, &small.desc, &small.mask, &update), "device is null");
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), nullptr, &small.mask, &update), "desc is null");
    EXPECT_INVALID(pconvCreateMaskUpdate(device.get(), &small.desc, &small.mask, nullptr), "update is null");
    EXPECT_EQ(update, nullptr);
    EXPECT_INVALID(pconvComputeMaskUpdate(nullptr, &small.mask), "update is null");
    EXPECT_INVALID(pconvComputeMaskUpdate(small.update.get(), nullptr), "mask is null");
    PconvTensor view{};
    view.rank = 77;
    EXPECT_INVALID(pconvGetMaskUpdateTensors(nullptr, &view, &view, &view), "update is null");
    EXPECT_EQ(view.rank, 77);
    EXPECT_EQ(pconvGetMaskUpdateTensors(small.update.get(), nullptr, nullptr, nullptr), PCONV_SUCCESS);
    pconvReleaseMaskUpdate(nullptr);
}

TEST(MaskUpdate, ComputingTakesOnlyTheFormItWasMadeFor) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedBuffer memory = makeBuffer(device.get(), std::vector<uint8_t>(2 * 4 * 5 * 6, 1));
    const PconvPartialConvDesc desc = multiDesc();
    const TestMask form(memory.get(), {{1, 2}, {2, 1}});
    OwnedMaskUpdate update;
    check(pconvCreateMaskUpdate(device.get(), &desc, &form.mask, update.out()));
    const auto compute = [&](const TestMask& mask) {
        return pconvComputeMaskUpdate(update.get(), &mask.mask);
    };
    const char* const other = "mask has another form than the one this update was made for";
    EXPECT_INVALID(compute(TestMask(memory.get(), {{4, 1}})), other);
    EXPECT_INVALID(compute(TestMask(memory.get(), {{2, 1}, {1, 2}})), other);
    EXPECT_INVALID(compute(TestMask(memory.get(), {{1, 4}})), other);
    TestMask flipped(memory.get(), {{1, 2}, {2, 1}});
    flipped.mask.polarity = PCONV_MASK_HOLE_IS_ONE;
    EXPECT_INVALID(compute(flipped), other);
    TestMask one(memory.get(), {{1, 2}, {2, 1}});
    for (PconvMaskSegment& segment : one.segments) segment.planes.dims[0] = 1;
    EXPECT_INVALID(compute(one), other);
    EXPECT_EQ(compute(form), PCONV_SUCCESS) << pconvGetLastError();
}

TEST(MaskUpdate, PlanesMustLieInTheirBuffer) {
    const OwnedDevice device = openDevice("cpu");
    const OwnedDevice other_device = openDevice("cpu");
    SmallConv small(device.get());
    const PconvMaskSegment right = small.segment;
    PconvTensor& planes = small.segment.planes;
    const auto compute = [&] { return pconvComputeMaskUpdate(small.update.get(), &small.mask); };
    planes.buffer = nullptr;
    EXPECT_INVALID(compute(), "mask segment 0 has no buffer");
    const OwnedBuffer elsewhere = makeBuffer(other_device.get(), 60);
    planes.buffer = elsewhere.get();
    EXPECT_INVALID(compute(), "mask segment 0 lies on another device");
    small.segment = right;
    planes.offset = 1;
    EXPECT_INVALID(compute(), "mask segment 0 needs 60 bytes from offset 1; the buffer has 60");
    planes.offset = SIZE_MAX;
    EXPECT_INVALID(compute(), "mask segment 0 needs 60 bytes");
    small.segment = right;
    const int64_t strides[4] = {30, 30, 7, 1};
    std::copy(strides, strides + 4, planes.strides);
    EXPECT_INVALID(compute(), "mask segment 0 needs 64 bytes");
    planes.strides[3] = 2;
    EXPECT_INVALID(compute(), "mask segment 0 has stride 2 in its last dimension; expected 1");
    planes.strides[3] = -1;
    EXPECT_INVALID(compute(), "mask segment 0 has a stride of -1; expected at least 1");
    planes.strides[3] = 1;
    planes.strides[2] = INT64_MAX;
    EXPECT_INVALID(compute(), "mask segment 0 has more elements than 64 bits can count");
    planes.strides[2] = INT64_MAX / 8;
    EXPECT_INVALID(compute(), "mask segment 0 reaches beyond what 64 bits can address");
    planes.strides[2] = 3;
    EXPECT_INVALID(compute(), "mask segment 0 has strides by which its elements overlap");
    small.segment = right;
    EXPECT_EQ(compute(), PCONV_SUCCESS) << pconvGetLastError();
}

TEST(MaskUpdate, ViewsHaveTheShapesThatAreDocumented) {
    const OwnedDevice device = openDevice("cpu");
    PconvPartialConvDesc desc = multiDesc();
    desc.mask_window = PCONV_MASK_WINDOW_GROUP_CHANNELS;
    desc.stride[0] = 2;
    const OwnedBuffer memory = makeBuffer(device.get(), std::vector<uint8_t>(2 * 4 * 5 * 6, 1));
    const TestMask mask(memory.get(), {{4, 1}});
    OwnedMaskUpdate update;
    check(pconvCreateMaskUpdate(device.get(), &desc, &mask.mask, update.out()));
    PconvTensor views[3] = {};
    check(pconvGetMaskUpdateTensors(update.get(), &views[0], &views[1], &views[2]));
    for (const PconvTensor& view : views) {
        EXPECT_EQ(view.rank, 4);
        const int64_t dims[4] = {2, 2, 3, 6};
        const int64_t strides[4] = {36, 18, 6, 1};
        for (int d = 0; d < 4; ++d) {
            EXPECT_EQ(view.dims[d], dims[d]);
            EXPECT_EQ(view.strides[d], strides[d]);
        }
    }
    EXPECT_EQ(views[0].data_type, PCONV_DATA_TYPE_F32);
    EXPECT_EQ(views[1].data_type, PCONV_DATA_TYPE_U8);
    EXPECT_EQ(views[2].data_type, PCONV_DATA_TYPE_F32);
}

}  // namespace
}  // namespace pconv::test
