// Padding beneath the seam, on every device present: all modes, sizes of elements, layouts and slices,
// nothing written beside the destination, and the transpose by sums that are exact.
#include "core/half.h"
#include "support/padding.h"
#include "support/seam_device.h"

namespace pconv::test {
namespace {

class Pad : public SeamDevice {
  protected:
    void checkPad(const PaddingSetting& setting, DataType type, bool from_last, bool to_last,
                  int64_t from_more, int64_t to_more) {
        const Placed source = place(setting.dims, type, from_last, from_more);
        Placed destination = place(paddedDims(setting), type, to_last, to_more);
        device_->pad(source.tensor, destination.tensor, setting.dims, setting.padding);
        forEachElement(paddedDims(setting), [&](const Dims& o) {
            std::copy_n(&source.bytes[byteOf(source.tensor, sourceOf(setting, o))], sizeOf(type),
                        &destination.bytes[byteOf(destination.tensor, o)]);
        });
        EXPECT_EQ(bytesOf(destination), destination.bytes);
    }

    static void put(Placed& placed, const Dims& at, float value) {
        uint8_t* to = &placed.bytes[byteOf(placed.tensor, at)];
        const uint16_t half =
            placed.tensor.data_type == DataType::f16 ? f16FromFloat(value) : bf16FromFloat(value);
        if (placed.tensor.data_type == DataType::f32)
            std::memcpy(to, &value, sizeof value);
        else
            std::memcpy(to, &half, sizeof half);
    }
    static float get(const Placed& placed, const Dims& at) {
        const uint8_t* from = &placed.bytes[byteOf(placed.tensor, at)];
        float value = 0;
        uint16_t half = 0;
        if (placed.tensor.data_type == DataType::f32) {
            std::memcpy(&value, from, sizeof value);
            return value;
        }
        std::memcpy(&half, from, sizeof half);
        return placed.tensor.data_type == DataType::f16 ? floatFromF16(half) : floatFromBf16(half);
    }
    void fillSmall(Placed& placed, const Dims& dims) {
        forEachElement(dims, [&](const Dims& o) { put(placed, o, static_cast<float>(random_() % 3) - 1); });
        device_->write(*placed.tensor.buffer, 0, placed.bytes.data(), placed.bytes.size());
    }

    // Sums of -1, 0 and 1, which every type holds exactly.
    void checkFold(const PaddingSetting& setting, DataType type, bool from_last, bool to_last, int64_t more,
                   bool accumulate) {
        Placed source = place(paddedDims(setting), type, from_last, more);
        fillSmall(source, paddedDims(setting));
        Placed destination = place(setting.dims, type, to_last, more);
        if (accumulate) fillSmall(destination, setting.dims);
        device_->foldPadding(source.tensor, destination.tensor, setting.dims, setting.padding, accumulate);
        if (!accumulate) forEachElement(setting.dims, [&](const Dims& o) { put(destination, o, 0); });
        forEachElement(paddedDims(setting), [&](const Dims& o) {
            const Dims to = sourceOf(setting, o);
            put(destination, to, get(destination, to) + get(source, o));
        });
        EXPECT_EQ(bytesOf(destination), destination.bytes);
    }
};

TEST_P(Pad, CopiesElements) {
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::u8})
        for (const PaddingSetting& setting : paddingSettings())
            for (const bool from_last : {false, true})
                for (const bool to_last : {false, true}) {
                    SCOPED_TRACE(::testing::Message() << "size " << sizeOf(type) << ", " << name(setting)
                                                      << ", " << from_last << to_last);
                    checkPad(setting, type, from_last, to_last, 0, 0);
                    checkPad(setting, type, from_last, to_last, 3, 5);
                    if (HasFailure()) return;
                }
}

TEST_P(Pad, FoldsSums) {
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16})
        for (const PaddingSetting& setting : paddingSettings())
            for (const bool from_last : {false, true})
                for (const bool to_last : {false, true})
                    for (const bool accumulate : {false, true}) {
                        SCOPED_TRACE(::testing::Message()
                                     << "type " << static_cast<int>(type) << ", " << name(setting) << ", "
                                     << from_last << to_last << accumulate);
                        checkFold(setting, type, from_last, to_last, accumulate ? 3 : 0, accumulate);
                        if (HasFailure()) return;
                    }
}

// Values with all the digits that the type has: in pieces too, each sum is rounded once.
TEST_P(Pad, RoundsASumOnce) {
    const PaddingSetting setting{{9, 7, 1, 5, 6}, {PaddingMode::replicate, {0, 3, 2}, {0, 1, 4}}};
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const bool last : {false, true}) {
            Placed source = place(paddedDims(setting), type, last, 0);
            forEachElement(paddedDims(setting), [&](const Dims& o) {
                put(source, o, static_cast<float>(static_cast<int>(random_() % 4096) - 2048) / 2048);
            });
            device_->write(*source.tensor.buffer, 0, source.bytes.data(), source.bytes.size());
            Placed destination = place(setting.dims, type, last, 0);
            device_->foldPadding(source.tensor, destination.tensor, setting.dims, setting.padding, false);
            std::vector<float> sums(static_cast<size_t>(elements(setting.dims)), 0);
            const Dims dense = strides(setting.dims, false);
            const auto sumOf = [&](const Dims& o) -> float& {
                return sums[static_cast<size_t>(
                    std::inner_product(o.begin(), o.end(), dense.begin(), int64_t{0}))];
            };
            forEachElement(paddedDims(setting),
                           [&](const Dims& o) { sumOf(sourceOf(setting, o)) += get(source, o); });
            forEachElement(setting.dims, [&](const Dims& o) { put(destination, o, sumOf(o)); });
            EXPECT_EQ(bytesOf(destination), destination.bytes) << static_cast<int>(type) << last;
        }
}

INSTANTIATE_TEST_SUITE_P(Backends, Pad, ::testing::Values("cpu", "vulkan", "cuda"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace pconv::test
