// Padding and its transpose in both orders of threads, against a walk over the elements.
#include <gtest/gtest.h>

#include <random>

#include "cuda/kernels/pad.h"
#include "cuda_shim.h"
#include "support/elements.h"
#include "support/padding.h"

namespace pconv::cuda {
namespace {

using test::forEachElement;
using test::PaddingSetting;
using Sizes = std::array<int64_t, 5>;

// A tensor in a memory of whole numbers, between others that must stay.
template <typename T>
struct Placed {
    std::vector<T> memory;
    View view{};
    Sizes dims{};

    T& at(const Sizes& place) {
        int64_t i = 0;
        for (size_t d = 0; d < 5; ++d) i += place[d] * view.strides[d];
        return static_cast<T*>(view.data)[i];
    }
};

class PadKernels : public testing::Test {
  protected:
    PadKernels() { cuda_shim::setOrder(cuda_shim::Order::shuffled); }

    template <typename T>
    void place(Placed<T>& placed, const Sizes& dims, bool channels_last, int64_t channels_between) {
        const int64_t channels = dims[1] + channels_between;
        const int64_t plane = dims[2] * dims[3] * dims[4];
        placed.dims = dims;
        placed.memory.resize(static_cast<size_t>(dims[0] * channels * plane));
        // Small whole numbers: sums of them are exact.
        for (T& value : placed.memory) value = static_cast<T>(random_() % 16);
        const Sizes last{plane * channels, 1, dims[3] * dims[4] * channels, dims[4] * channels, channels};
        const Sizes first{plane * channels, plane, dims[3] * dims[4], dims[4], 1};
        const Sizes& strides = channels_last ? last : first;
        std::copy(strides.begin(), strides.end(), placed.view.strides);
        placed.view.data = placed.memory.data() + channels_between / 2 * strides[1];
    }

    template <typename T>
    static Placed<T> copyOf(const Placed<T>& placed) {
        Placed<T> copy = placed;
        copy.view.data =
            copy.memory.data() + (static_cast<const T*>(placed.view.data) - placed.memory.data());
        return copy;
    }

    static PaddingCopy describe(const PaddingSetting& setting, DataType type, const View& plain,
                                const View& padded) {
        PaddingCopy copy{};
        copy.type = type;
        copy.mode = setting.padding.mode;
        std::copy(setting.dims.begin(), setting.dims.end(), copy.dims);
        std::copy(setting.padding.begin.begin(), setting.padding.begin.end(), copy.begin);
        std::copy(setting.padding.end.begin(), setting.padding.end.end(), copy.end);
        copy.plain = plain;
        copy.padded = padded;
        return copy;
    }

    template <typename T>
    void checkPad(const PaddingSetting& setting, DataType type, bool from_last, bool to_last,
                  int64_t between) {
        Placed<T> from;
        Placed<T> to;
        place(from, setting.dims, from_last, between);
        place(to, test::paddedDims(setting), to_last, between);
        Placed<T> expected = copyOf(to);
        forEachElement(to.dims,
                       [&](const Sizes& o) { expected.at(o) = from.at(test::sourceOf(setting, o)); });
        ASSERT_EQ(launchPad(describe(setting, type, from.view, to.view), nullptr), cudaSuccess);
        EXPECT_EQ(to.memory, expected.memory)
            << test::name(setting) << ", " << from_last << to_last << ", between " << between;
    }

    void checkFold(const PaddingSetting& setting, bool from_last, bool to_last, int64_t between,
                   bool accumulate) {
        Placed<float> from;
        Placed<float> to;
        place(from, test::paddedDims(setting), from_last, between);
        place(to, setting.dims, to_last, between);
        Placed<float> expected = copyOf(to);
        if (!accumulate) forEachElement(to.dims, [&](const Sizes& o) { expected.at(o) = 0; });
        forEachElement(from.dims,
                       [&](const Sizes& o) { expected.at(test::sourceOf(setting, o)) += from.at(o); });
        ASSERT_EQ(
            launchFoldPadding(describe(setting, DataType::f32, to.view, from.view), accumulate, nullptr),
            cudaSuccess);
        EXPECT_EQ(to.memory, expected.memory)
            << test::name(setting) << ", " << from_last << to_last << ", between " << between << accumulate;
    }

    std::mt19937 random_{3};
};

TEST_F(PadKernels, CopyElements) {
    for (const PaddingSetting& setting : test::paddingSettings())
        for (const bool from_last : {false, true})
            for (const bool to_last : {false, true})
                for (const int64_t between : {0, 3}) {
                    checkPad<uint8_t>(setting, DataType::u8, from_last, to_last, between);
                    checkPad<uint16_t>(setting, DataType::bf16, from_last, to_last, between);
                    checkPad<float>(setting, DataType::f32, from_last, to_last, between);
                }
}

TEST_F(PadKernels, FoldSums) {
    for (const PaddingSetting& setting : test::paddingSettings())
        for (const bool from_last : {false, true})
            for (const bool to_last : {false, true})
                for (const bool accumulate : {false, true})
                    checkFold(setting, from_last, to_last, accumulate ? 3 : 0, accumulate);
}

}  // namespace
}  // namespace pconv::cuda
