// Upsampling in every way the kernel moves elements, against the formula.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "cuda/kernels/upsample.h"
#include "cuda_shim.h"

namespace pconv::cuda {
namespace {

using Sizes = std::array<int64_t, 5>;

struct Memory {
    std::vector<uint8_t> bytes;
    View view{};
};

class UpsampleKernels : public testing::Test {
  protected:
    UpsampleKernels() { cuda_shim::setOrder(cuda_shim::Order::shuffled); }

    // Random bytes, in which the tensor's channels are a part of `channels_between` more.
    void place(Memory& memory, const Sizes& dims, int64_t bytes, bool channels_last,
               int64_t channels_between) {
        const int64_t channels = dims[1] + channels_between;
        const int64_t plane = dims[2] * dims[3] * dims[4];
        memory.bytes.resize(static_cast<size_t>((dims[0] * channels * plane) * bytes + 64));
        for (uint8_t& byte : memory.bytes) byte = static_cast<uint8_t>(random_());
        const auto start = reinterpret_cast<uintptr_t>(memory.bytes.data());
        const Sizes last{plane * channels, 1, dims[3] * dims[4] * channels, dims[4] * channels, channels};
        const Sizes first{plane * channels, plane, dims[3] * dims[4], dims[4], 1};
        const Sizes& strides = channels_last ? last : first;
        std::copy(strides.begin(), strides.end(), memory.view.strides);
        // On a boundary of 16 bytes, so that the channels between decide how elements can be moved.
        memory.view.data = memory.bytes.data() + (16 - start % 16) % 16 +
                           static_cast<size_t>(channels_between / 2 * strides[1] * bytes);
    }

    void check(const Sizes& dims, const Dims3& factor, int64_t bytes, bool from_last, bool to_last,
               int64_t between, int64_t most_dense = int64_t{1} << 30) {
        const Sizes outputs{dims[0], dims[1], dims[2] * factor[0], dims[3] * factor[1], dims[4] * factor[2]};
        Memory from;
        Memory to;
        place(from, dims, bytes, from_last, between);
        place(to, outputs, bytes, to_last, between);
        Upsampling u{};
        u.element_bytes = static_cast<int>(bytes);
        std::copy(dims.begin(), dims.end(), u.dims);
        std::copy(factor.begin(), factor.end(), u.factor);
        u.source = from.view;
        u.destination = to.view;
        std::vector<uint8_t> expected = to.bytes;
        const auto shift = static_cast<uint8_t*>(to.view.data) - to.bytes.data();
        for (int64_t n = 0; n < dims[0]; ++n)
            for (int64_t c = 0; c < dims[1]; ++c)
                for (int64_t d = 0; d < outputs[2]; ++d)
                    for (int64_t h = 0; h < outputs[3]; ++h)
                        for (int64_t w = 0; w < outputs[4]; ++w) {
                            const auto at = [&](const View& v, const Sizes& p) {
                                int64_t i = 0;
                                for (size_t k = 0; k < 5; ++k) i += p[k] * v.strides[k];
                                return i * bytes;
                            };
                            const auto* source =
                                static_cast<const uint8_t*>(from.view.data) +
                                at(from.view, {n, c, d / factor[0], h / factor[1], w / factor[2]});
                            std::copy_n(source, bytes,
                                        expected.begin() + shift + at(to.view, {n, c, d, h, w}));
                        }
        ASSERT_EQ(launchUpsample(u, nullptr, most_dense), cudaSuccess);
        EXPECT_EQ(to.bytes, expected)
            << bytes << " bytes, " << dims[1] << " channels, width " << dims[4] << ", factor " << factor[2]
            << ", " << from_last << to_last << ", between " << between;
    }

    std::mt19937 random_{3};
};

TEST_F(UpsampleKernels, RepeatElements) {
    const Sizes sizes[] = {{1, 1, 1, 1, 1},  {2, 3, 1, 5, 7},  {1, 16, 1, 4, 8},
                           {2, 5, 3, 2, 16}, {1, 32, 2, 3, 5}, {1, 1, 1, 9, 40}};
    const Dims3 factors[] = {{1, 2, 2}, {2, 2, 2}, {1, 3, 2}, {1, 1, 1}, {3, 1, 3}};
    for (const Sizes& dims : sizes)
        for (const Dims3& factor : factors)
            for (const int64_t bytes : {1, 2, 4})
                for (const bool from_last : {false, true})
                    for (const bool to_last : {false, true})
                        for (const int64_t between : {0, 3, 32})
                            check(dims, factor, bytes, from_last, to_last, between);
}

// Lines of more elements than an int counts are cut; here already at 48.
TEST_F(UpsampleKernels, CutLongLines) {
    for (const Sizes& dims : {Sizes{1, 1, 1, 3, 200}, Sizes{2, 200, 1, 2, 3}})
        for (const Dims3& factor : {Dims3{1, 2, 2}, Dims3{1, 3, 5}, Dims3{1, 1, 1}})
            for (const int64_t bytes : {1, 2, 4})
                for (const bool last : {false, true}) check(dims, factor, bytes, last, last, 0, 48);
}

}  // namespace
}  // namespace pconv::cuda
