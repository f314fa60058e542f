// Nearest upsampling beneath the seam, on every device present: all sizes of elements, layouts, slices and
// factors, and nothing written beside the destination.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "support/seam.h"

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

class Upsample : public ::testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        std::string reason;
        device_ = openFirstDevice(GetParam(), host_, reason);
        if (!device_) GTEST_SKIP() << reason;
    }

    // A view of a memory of `whole` elements before, around and after, filled with random bytes.
    struct Placed {
        TensorRef tensor;
        std::vector<uint8_t> bytes;
    };
    Placed place(const Dims& dims, DataType type, bool channels_last, int64_t more_channels) {
        Dims whole = dims;
        whole[1] += more_channels;
        const size_t size = sizeOf(type);
        const int64_t guard = 48;
        Placed placed;
        placed.bytes.resize(static_cast<size_t>(elements(whole) + 2 * guard) * size);
        for (uint8_t& byte : placed.bytes) byte = static_cast<uint8_t>(random_());
        placed.tensor.buffer = device_->allocate(placed.bytes.size());
        placed.tensor.strides = strides(whole, channels_last);
        placed.tensor.offset =
            static_cast<size_t>(guard + more_channels / 2 * placed.tensor.strides[1]) * size;
        placed.tensor.data_type = type;
        device_->write(*placed.tensor.buffer, 0, placed.bytes.data(), placed.bytes.size());
        return placed;
    }

    void check(const Setting& setting, DataType type, bool from_last, bool to_last, int64_t from_more,
               int64_t to_more) {
        Dims dims = setting.dims;
        const Placed source = place(dims, type, from_last, from_more);
        for (size_t d = 0; d < 3; ++d) dims[2 + d] *= setting.factor[d];
        Placed destination = place(dims, type, to_last, to_more);
        device_->upsample(source.tensor, destination.tensor, setting.dims, setting.factor);
        std::vector<uint8_t> got(destination.bytes.size());
        device_->read(*destination.tensor.buffer, 0, got.data(), got.size());

        const size_t size = sizeOf(type);
        const auto at = [&](const TensorRef& t, const Dims& position) {
            return t.offset + size * static_cast<size_t>(std::inner_product(position.begin(), position.end(),
                                                                            t.strides.begin(), int64_t{0}));
        };
        Dims o{};
        for (o[0] = 0; o[0] < dims[0]; ++o[0])
            for (o[1] = 0; o[1] < dims[1]; ++o[1])
                for (o[2] = 0; o[2] < dims[2]; ++o[2])
                    for (o[3] = 0; o[3] < dims[3]; ++o[3])
                        for (o[4] = 0; o[4] < dims[4]; ++o[4]) {
                            const Dims from{o[0], o[1], o[2] / setting.factor[0], o[3] / setting.factor[1],
                                            o[4] / setting.factor[2]};
                            std::copy_n(&source.bytes[at(source.tensor, from)], size,
                                        &destination.bytes[at(destination.tensor, o)]);
                        }
        EXPECT_EQ(got, destination.bytes);
    }

    FreeHost host_;
    std::unique_ptr<Device> device_;
    std::mt19937 random_{5};
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
