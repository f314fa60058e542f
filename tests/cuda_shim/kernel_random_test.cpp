// Small random configurations through every kernel, forward and backward.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "kernel_case.h"

namespace pconv::cuda {
namespace {

class Generator {
  public:
    explicit Generator(uint32_t seed) : random_(seed) {}

    // Channels in multiples of `unit`.
    KernelCase make(int unit, int most_units) {
        KernelCase c;
        ConvShape& s = c.shape;
        const int dims = pick({1, 2, 2, 2, 3});
        s.groups = pick({1, 1, 1, 2, 3});
        s.batch = pick({1, 2, 3});
        s.in_channels = s.groups * unit * between(1, most_units);
        s.out_channels = s.groups * unit * between(1, most_units);
        if (unit == 1 && chance(15)) s.in_channels = s.out_channels = s.groups = between(2, 9);  // depthwise
        do {
            for (int d = 0; d < 3; ++d) {
                const bool used = d >= 3 - dims;
                s.kernel[d] = used ? pick({1, 2, 3, 3, 3, 5}) : 1;
                s.stride[d] = used ? pick({1, 1, 1, 2, 3}) : 1;
                s.dilation[d] = used ? pick({1, 1, 1, 2, 3}) : 1;
                s.padding[d] = used ? between(0, s.kernel[d]) : 0;
                s.input[d] = used ? between(1, dims == 3 ? 6 : dims == 2 ? 11 : 40) : 1;
            }
            setOutput(s);
        } while (s.output[0] < 1 || s.output[1] < 1 || s.output[2] < 1);
        c.type = pick({DataType::f32, DataType::f32, DataType::f16, DataType::bf16});
        c.fast_math = true;
        c.mask_type = pick(
            {MaskType::none, MaskType::binary, MaskType::binary, MaskType::binary, MaskType::fractional});
        c.normalization =
            pick({Normalization::window_ratio, Normalization::window_ratio, Normalization::mask_sum});
        c.eps = pick({1e-8F, 1e-6F, 0.0F});
        c.multi_channel = chance(40);
        c.group_window = c.multi_channel && chance(40);
        if (chance(12)) maskedConvolution(c);
        c.has_bias = chance(65);
        c.activation = pick(
            {Activation::none, Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu});
        c.accumulate = chance(30);
        c.input_channels_last = chance(60);
        c.output_channels_last = chance(60);
        c.gap = pick({0, 0, 8, 3});
        if (c.mask_type != MaskType::none) addMask(c, unit);
        fill(c);
        return c;
    }

    // As many groups as make igemm take its wide blocks, on few pixels.
    KernelCase makeManyGroups(int group_in, int group_out, DataType type,
                              Activation activation = Activation::none, bool channels_last = false,
                              int planes = 1) {
        KernelCase c;
        c.activation = activation;
        c.output_channels_last = channels_last;
        c.shape = {2,
                   kManyGroups * group_in,
                   kManyGroups * group_out,
                   kManyGroups,
                   {1, 1, 5},
                   {1, 1, 3},
                   {1, 1, 1},
                   {0, 0, 1},
                   {1, 1, 1},
                   {}};
        setOutput(c.shape);
        c.type = type;
        c.fast_math = true;
        c.input_channels_last = true;
        c.mask_batch = 2;
        c.multi_channel = planes > 1;
        CaseSegment segment{planes, c.shape.in_channels / planes, {1, 0, 1, 1, 0, 0, 1, 0, 0, 1}};
        for (int i = 10; i < 10 * planes; ++i) segment.values.push_back(chance(60) ? 1.0F : 0.0F);
        c.segments.push_back(std::move(segment));
        fill(c);
        return c;
    }

  private:
    static constexpr int kManyGroups = 132;

    int between(int low, int high) {
        return low + static_cast<int>(random_() % static_cast<uint32_t>(high - low + 1));
    }
    bool chance(int percent) { return between(0, 99) < percent; }
    template <typename T>
    T pick(std::initializer_list<T> values) {
        return values.begin()[between(0, static_cast<int>(values.size()) - 1)];
    }

    void maskedConvolution(KernelCase& c) {
        c.normalization = Normalization::weight_magnitude;
        c.multi_channel = true;
        c.group_window = false;
        for (int d = 0; d < 3; ++d)
            if (c.shape.kernel[d] % 2 == 0) c.shape.kernel[d] = 1;
        setOutput(c.shape);
    }

    void addMask(KernelCase& c, int unit) {
        c.mask_batch = chance(40) ? 1 : c.shape.batch;
        c.hole_is_one = chance(30);
        c.input_is_masked = c.maskedConvolution() ? false : chance(15);
        int left = c.shape.in_channels;
        if (!c.multi_channel) {
            c.segments.push_back({1, left, {}});
        } else if (chance(30)) {
            c.segments.push_back({left, 1, {}});  // a plane for every channel
        } else if (chance(15)) {
            for (; left > 0; --left) c.segments.push_back({1, 1, {}});  // as many views
        } else {
            while (left > 0) {
                const int multiplicity = std::min(left, unit * between(1, 3));
                const int planes = std::min(left / multiplicity, between(1, 2));
                c.segments.push_back({planes, multiplicity, {}});
                left -= planes * multiplicity;
            }
        }
        const int holes = pick({0, 10, 50, 50, 90, 100});  // percent
        for (CaseSegment& segment : c.segments) {
            const int size = volume(c.shape.input);
            for (int i = 0; i < c.mask_batch * segment.planes * size; ++i) {
                float valid = chance(holes) ? 0.0F : 1.0F;
                if (c.mask_type == MaskType::fractional && valid != 0 && chance(60))
                    valid = static_cast<float>(between(1, 7)) / 8;
                segment.values.push_back(c.hole_is_one ? 1 - valid : valid);
            }
        }
    }

    std::vector<float> numbers(int count, DataType type) {
        std::vector<float> values(static_cast<size_t>(count));
        for (float& value : values) value = rounded(static_cast<float>(random_() % 2001) / 1000.0F - 1, type);
        return values;
    }

    // Where nothing may be read lies what would spread.
    void fill(KernelCase& c) {
        const ConvShape& s = c.shape;
        const float poison = pick({std::nanf(""), std::numeric_limits<float>::infinity()});
        c.input = numbers(s.batch * s.in_channels * volume(s.input), c.type);
        c.weight = numbers(s.out_channels * c.groupIn() * volume(s.kernel), c.type);
        c.bias = numbers(s.out_channels, c.type);
        c.grad_output = numbers(s.batch * s.out_channels * volume(s.output), c.type);
        if (c.maskedConvolution()) return;
        for (int n = 0; n < s.batch; ++n)
            for (int channel = 0; channel < s.in_channels; ++channel)
                for (int i = 0; i < volume(s.input); ++i)
                    if (c.maskAt(n, channel, i) == 0)
                        c.input[static_cast<size_t>((n * s.in_channels + channel) * volume(s.input) + i)] =
                            c.input_is_masked ? 0 : poison;
    }

    std::mt19937 random_;
};

// The first fault of `count` cases, and how many runs there were.
std::string faultOf(int first_seed, int count, int unit, int most_units, int& ran) {
    for (int seed = first_seed; seed < first_seed + count; ++seed) {
        const std::string fault = check(Generator(static_cast<uint32_t>(seed)).make(unit, most_units), ran);
        if (!fault.empty()) return "seed " + std::to_string(seed) + ": " + fault;
    }
    return "";
}

TEST(Kernels, AnyChannels) {
    int ran = 0;
    EXPECT_EQ(faultOf(1, 200, 1, 9, ran), "");
    EXPECT_GE(ran, 200);
}

TEST(Kernels, ChannelsInWholeVectors) {
    int ran = 0;
    EXPECT_EQ(faultOf(1001, 120, 8, 3, ran), "");
    EXPECT_GE(ran, 120);
}

TEST(Kernels, MoreChannelsThanATile) {
    int ran = 0;
    EXPECT_EQ(faultOf(2001, 12, 40, 4, ran), "");
    EXPECT_GE(ran, 12);
}

// Wide blocks are taken where there are enough of them for a large chip.
TEST(Kernels, WideBlocks) {
    int ran = 0;
    EXPECT_EQ(check(Generator(1).makeManyGroups(8, 72, DataType::f16), ran), "");
    EXPECT_EQ(check(Generator(2).makeManyGroups(72, 8, DataType::f32), ran), "");
    EXPECT_EQ(check(Generator(3).makeManyGroups(8, 72, DataType::bf16, Activation::gelu, true), ran), "");
    // A block's channels have two planes, whole vectors of them one.
    EXPECT_EQ(check(Generator(4).makeManyGroups(80, 8, DataType::f16, Activation::relu, true, 2 * 132), ran),
              "");
    EXPECT_EQ(ran, 8);
}

}  // namespace
}  // namespace pconv::cuda
