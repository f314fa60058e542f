// Nearest upsampling beneath the seam, on every device present: all sizes of elements, layouts, slices and
// factors, and nothing written beside the destination.
#include <gtest/gtest.h>

#include <algorithm>

#include "support/seam_device.h"

namespace pconv {
namespace {

using namespace test;

struct Setting {
    Dims dims;
    Dims3 factor;
};

const Setting kSettings[] = {
    {{1, 1, 1, 1, 1}, {1, 1, 1}},    {{1, 1, 1, 5, 7}, {1, 2, 2}},     {{2, 8, 1, 6, 16}, {1, 2, 2}},
    {{2, 3, 1, 9, 11}, {1, 3, 2}},   {{1, 5, 3, 4, 13}, {2, 2, 2}},    {{2, 4, 2, 3, 33}, {1, 1, 3}},
    {{1, 6, 2, 5, 4}, {3, 1, 1}},    {{3, 64, 1, 7, 9}, {1, 2, 2}},    {{1, 17, 1, 1, 70}, {1, 1, 2}},
    {{2, 12, 1, 16, 24}, {1, 2, 2}}, {{1, 1, 1, 240, 300}, {1, 2, 2}}, {{1, 4, 4, 4, 4}, {3, 3, 3}},
};

class Upsample : public SeamDevice {
  protected:
    void check(const Setting& setting, DataType type, bool from_last, bool to_last, int64_t from_more,
               int64_t to_more) {
        Dims dims = setting.dims;
        const Placed source = place(dims, type, from_last, from_more);
        for (size_t d = 0; d < 3; ++d) dims[2 + d] *= setting.factor[d];
        Placed destination = place(dims, type, to_last, to_more);
        device_->upsample(source.tensor, destination.tensor, setting.dims, setting.factor);
        const size_t size = sizeOf(type);
        forEachElement(dims, [&](const Dims& o) {
            const Dims from{o[0], o[1], o[2] / setting.factor[0], o[3] / setting.factor[1],
                            o[4] / setting.factor[2]};
            std::copy_n(&source.bytes[byteOf(source.tensor, from)], size,
                        &destination.bytes[byteOf(destination.tensor, o)]);
        });
        EXPECT_EQ(bytesOf(destination), destination.bytes);
    }
};

TEST_P(Upsample, RepeatsElements) {
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::u8}) {
        for (const Setting& setting : kSettings)
            for (const bool from_last : {false, true})
                for (const bool to_last : {false, true}) {
                    SCOPED_TRACE(::testing::Message() << "size " << sizeOf(type) << ", " << setting.dims[1]
                                                      << " channels, width " << setting.dims[4] << ", factor "
                                                      << setting.factor[2] << ", " << from_last << to_last);
                    check(setting, type, from_last, to_last, 0, 0);
                    if (HasFailure()) return;
                }
    }
}

// A part of the channels of a tensor into a part of those of another.
TEST_P(Upsample, SlicesStaySlices) {
    for (const DataType type : {DataType::f32, DataType::f16, DataType::u8})
        for (const Setting& setting : kSettings)
            for (const bool channels_last : {false, true})
                for (const int64_t more : {3, 16}) {
                    SCOPED_TRACE(::testing::Message()
                                 << "size " << sizeOf(type) << ", " << setting.dims[1] << " channels and "
                                 << more << ", width " << setting.dims[4] << ", factor " << setting.factor[2]
                                 << ", " << channels_last);
                    check(setting, type, channels_last, channels_last, 0, more);
                    check(setting, type, channels_last, channels_last, more, 5);
                    if (HasFailure()) return;
                }
}

INSTANTIATE_TEST_SUITE_P(Backends, Upsample, ::testing::Values("cpu", "vulkan", "cuda"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace pconv
