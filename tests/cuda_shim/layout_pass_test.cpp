// The passes around convolutions, by planes, pixels and tiles, against plain loops; and which of them is
// taken.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "core/half.h"
#include "cuda/kernels/divisor.cuh"
#include "cuda/kernels/float_pair.cuh"
#include "cuda/kernels/kernels.h"
#include "cuda_shim.h"

namespace pconv::cuda {
namespace {

TEST(Divisor, GivesQuotientAndRest) {
    std::mt19937 random(3);
    std::vector<int> numbers{1, 2, 3, 7, 31, 32, 33, 4095, 65536, 1 << 30, 0x7FFFFFFF, 0x7FFFFFFE};
    for (int i = 0; i < 200; ++i) numbers.push_back(static_cast<int>(random() >> (1 + random() % 30)) + 1);
    for (const int by : numbers) {
        const Divisor divisor(by);
        for (int of : numbers)
            for (const int dividend : {of, of - 1, static_cast<int>(int64_t{of} / by * by)}) {
                int rest = dividend;
                ASSERT_EQ(divisor.divide(rest), dividend / by) << dividend << " by " << by;
                ASSERT_EQ(rest, dividend % by);
            }
    }
}

// To 44 bits of what is subtracted or multiplied, and sums to that of all their terms.
TEST(FloatPair, HoldsTwiceTheBitsOfAFloat) {
    std::mt19937 random(4);
    const auto number = [&] { return static_cast<double>(random()) / 0x1p20 - 2048; };
    FloatPair pairs{0, 0};
    double sum = 0;
    double magnitude = 0;
    for (int i = 0; i < 2000; ++i) {
        const double a = number();
        const double b = i % 2 == 0 ? number() : a + number() / 0x1p22;
        const FloatPair x = FloatPair::of(a);
        const FloatPair y = FloatPair::of(b);
        ASSERT_NEAR(x.value(), a, 0x1p-47 * std::abs(a));
        ASSERT_NEAR((x - y).value(), a - b, 0x1p-44 * (std::abs(a) + std::abs(b)));
        ASSERT_NEAR((x * y).value(), a * b, 0x1p-44 * std::abs(a * b));
        const FloatPair square = (x - y) * (x - y);
        ASSERT_NEAR(square.value(), (a - b) * (a - b),
                    0x1p-43 * std::abs(a - b) * (std::abs(a) + std::abs(b)));
        pairs += x;
        sum += a;
        magnitude += std::abs(a);
    }
    EXPECT_NEAR(pairs.value(), sum, 0x1p-44 * magnitude);
    EXPECT_TRUE(pairs.isFinite());
    pairs += FloatPair{3e38F, 0};
    pairs += FloatPair{3e38F, 0};
    EXPECT_FALSE(pairs.isFinite());
    EXPECT_TRUE(std::isinf(FloatPair::of(1e300).value()));
}

enum class Place { contiguous, channels_last, contiguous_gaps, channels_last_gaps };

// A tensor [batch, channels, size...] of one type in memory, in some order, filled with NaN in between.
struct Tensor {
    Tensor(DataType element, int images, int planes, const int (&size)[3], Place place, int shift = 0)
        : type(element), batch(images), channels(planes), positions(size[0] * size[1] * size[2]) {
        const bool last = place == Place::channels_last || place == Place::channels_last_gaps;
        const int gap = place == Place::contiguous_gaps || place == Place::channels_last_gaps ? 3 : 0;
        int64_t stride = 1;
        const auto give = [&](int d, int64_t extent) {
            view.strides[d] = stride;
            stride = stride * extent + gap;
        };
        if (last) give(1, channels);
        for (int d = 2; d >= 0; --d) give(d + 2, size[d]);
        if (!last) give(1, channels);
        view.strides[0] = stride;
        for (int d = 0; d < 3; ++d) extents[d] = size[d];
        bytes.resize((static_cast<size_t>(stride) * static_cast<size_t>(batch) + 16) * sizeOf(type), 0xFF);
        const auto begin = reinterpret_cast<uintptr_t>(bytes.data());
        view.data = bytes.data() + (16 - begin % 16) % 16 + static_cast<size_t>(shift) * sizeOf(type);
    }
    int64_t offset(int n, int c, int position) const {
        const int w = position % extents[2];
        const int h = position / extents[2] % extents[1];
        const int d = position / extents[2] / extents[1];
        return n * view.strides[0] + c * view.strides[1] + d * view.strides[2] + h * view.strides[3] +
               w * view.strides[4];
    }
    void set(int64_t at, float value) {
        if (type == DataType::f32) {
            static_cast<float*>(view.data)[at] = value;
        } else {
            static_cast<uint16_t*>(view.data)[at] =
                type == DataType::f16 ? f16FromFloat(value) : bf16FromFloat(value);
        }
    }
    float get(int64_t at) const {
        if (type == DataType::f32) return static_cast<const float*>(view.data)[at];
        const uint16_t half = static_cast<const uint16_t*>(view.data)[at];
        return type == DataType::f16 ? floatFromF16(half) : floatFromBf16(half);
    }
    template <typename F>
    void forEach(const F& f) const {
        for (int n = 0; n < batch; ++n)
            for (int c = 0; c < channels; ++c)
                for (int position = 0; position < positions; ++position)
                    f(n, c, position, offset(n, c, position));
    }
    void fill(std::mt19937& random) {
        forEach([&](int, int, int, int64_t at) {
            set(at, static_cast<float>(static_cast<int>(random() % 201) - 100) / 64);
        });
    }

    DataType type;
    int batch, channels, positions, extents[3]{};
    View view{};
    std::vector<unsigned char> bytes;
};

struct PassCase {
    DataType type = DataType::f32;
    int batch = 2, channels = 8, size[3] = {1, 4, 8};
    Place from = Place::contiguous, to = Place::contiguous;
    int groups_of_mask = 1;  // planes of the input's mask, groups of the results
    int groups = 1;
    MaskType mask_type = MaskType::binary;
    int shift = 0;  // elements that the source begins after a whole vector
    int padded = 0;
};

class Problem {
  public:
    explicit Problem(const PassCase& c) : c_(c) {
        std::mt19937 random(7);
        const int positions = c.size[0] * c.size[1] * c.size[2];
        const auto count = static_cast<size_t>(c.batch * c.groups_of_mask * positions);
        ratio_.resize(count);
        fractions_.resize(count);
        bytes_.resize(count);
        for (size_t i = 0; i < count; ++i) {
            bytes_[i] = random() % 3 != 0 ? 1 : 0;
            fractions_[i] = random() % 3 != 0 ? static_cast<float>(random() % 64) / 64 : 0;
            ratio_[i] = static_cast<float>(random() % 128) / 32;
        }
        plane_of_channel_.resize(static_cast<size_t>(c.channels));
        const int run = c.channels / c.groups_of_mask;
        for (int i = 0; i < c.channels; ++i) plane_of_channel_[static_cast<size_t>(i)] = i / run;
        ConvShape& s = problem.shape;
        s.batch = c.batch;
        s.in_channels = s.out_channels = c.channels;
        s.groups = c.groups;
        for (int d = 0; d < 3; ++d) s.input[d] = s.output[d] = c.size[d];
        problem.type = c.type;
        const void* const planes =
            c.mask_type == MaskType::binary ? static_cast<const void*>(bytes_.data()) : fractions_.data();
        int chunk = 1;
        while (chunk * 2 <= run && run % (chunk * 2) == 0) chunk *= 2;
        problem.mask = {planes, c.mask_type, c.batch, c.groups_of_mask, plane_of_channel_.data(), chunk};
        problem.results = {ratio_.data(), planes, c.mask_type, c.batch, c.groups_of_mask, nullptr};
        problem.has_bias = true;
        problem.activation = Activation::leaky_relu;
        problem.negative_slope = 0.25F;
    }
    size_t at(int n, int channel, int position) const {
        const int run = c_.channels / c_.groups_of_mask;
        return static_cast<size_t>(
            (n * c_.groups_of_mask + channel / run) * (c_.size[0] * c_.size[1] * c_.size[2]) + position);
    }
    float mask(int n, int channel, int position) const {
        const size_t i = at(n, channel, position);
        return c_.mask_type == MaskType::binary ? static_cast<float>(bytes_[i]) : fractions_[i];
    }
    float ratio(int n, int channel, int position) const { return ratio_[at(n, channel, position)]; }

    ConvProblem problem{};

  private:
    PassCase c_;
    std::vector<float> ratio_, fractions_;
    std::vector<uint8_t> bytes_;
    std::vector<int> plane_of_channel_;
};

// The value as the type has it, so that results may be compared bit by bit.
float asType(float value, DataType type) {
    return type == DataType::f32   ? value
           : type == DataType::f16 ? floatFromF16(f16FromFloat(value))
                                   : floatFromBf16(bf16FromFloat(value));
}

template <typename F>
std::string launched(const F& f) {
    std::vector<std::string> names;
    cuda_shim::recordLaunches(&names);
    EXPECT_EQ(f(), cudaSuccess);
    cuda_shim::recordLaunches(nullptr);
    return names.empty() ? "" : names.front();
}

// Source channel of a destination's, -1 where that is padding.
int sourceChannel(const PassCase& c, int channel, int padded) {
    const int of_group = c.channels / c.groups;
    return channel % padded < of_group ? channel / padded * of_group + channel % padded : -1;
}

// Where nothing is written, there is what there was: NaN.
template <typename F>
void expectTensor(const Tensor& got, const F& expected) {
    std::vector<bool> written(got.bytes.size() / sizeOf(got.type), false);
    const auto base =
        static_cast<size_t>(static_cast<const unsigned char*>(got.view.data) - got.bytes.data()) /
        sizeOf(got.type);
    got.forEach([&](int n, int c, int position, int64_t at) {
        ASSERT_EQ(got.get(at), expected(n, c, position)) << n << ' ' << c << ' ' << position;
        written[base + static_cast<size_t>(at)] = true;
    });
    for (size_t i = 0; i < got.bytes.size(); ++i)
        if (!written[i / sizeOf(got.type)]) {
            ASSERT_EQ(got.bytes[i], 0xFF) << "byte " << i << " is not the pass's";
        }
}

std::string maskedCopyOf(const PassCase& c) {
    const Problem p(c);
    std::mt19937 random(11);
    Tensor source(c.type, c.batch, c.channels, c.size, c.from, c.shift);
    source.fill(random);
    source.forEach([&](int n, int channel, int position, int64_t at) {
        if (p.mask(n, channel, position) == 0) source.set(at, NAN);
    });
    const int padded = c.padded != 0 ? c.padded : c.channels / c.groups;
    const Tensor to(c.type, c.batch, padded * c.groups, c.size, c.to);
    const std::string name =
        launched([&] { return launchMaskedCopy(p.problem, source.view, to.view, padded, nullptr); });
    expectTensor(to, [&](int n, int channel, int position) {
        const int from = sourceChannel(c, channel, padded);
        if (from < 0) return 0.0F;
        const float m = p.mask(n, from, position);
        return m == 0 ? 0 : asType(source.get(source.offset(n, from, position)) * m, c.type);
    });
    return name;
}

std::string epilogueOf(const PassCase& c, DataType accumulator) {
    const Problem p(c);
    std::mt19937 random(12);
    Tensor source(accumulator, c.batch, c.channels, c.size, c.from, c.shift);
    source.fill(random);
    Tensor bias(c.type, 1, c.channels, {1, 1, 1}, Place::contiguous);
    bias.fill(random);
    const Tensor to(c.type, c.batch, c.channels, c.size, c.to);
    const std::string name = launched([&] {
        return launchEpilogue(p.problem, accumulator, source.view, bias.view.data, to.view, nullptr);
    });
    expectTensor(to, [&](int n, int channel, int position) {
        const float u = p.mask(n, channel, position);
        if (u == 0) return 0.0F;
        const float sum = source.get(source.offset(n, channel, position)) * p.ratio(n, channel, position);
        const float y = (sum + bias.get(bias.offset(0, channel, 0))) * u;
        return asType(y < 0 ? 0.25F * y : y, c.type);
    });
    return name;
}

std::string gradientOf(const PassCase& c, DataType dc_type, bool writes = true) {
    const Problem p(c);
    std::mt19937 random(13);
    Tensor source(c.type, c.batch, c.channels, c.size, c.from, c.shift);
    source.fill(random);
    source.forEach([&](int n, int channel, int position, int64_t at) {
        if (p.mask(n, channel, position) == 0) source.set(at, NAN);
    });
    const int padded = c.padded != 0 ? c.padded : c.channels / c.groups;
    const Tensor dc(dc_type, c.batch, padded * c.groups, c.size, c.to);
    View to = dc.view;
    if (!writes) to.data = nullptr;
    Tensor bias(c.type, 1, c.channels, {1, 1, 1}, Place::contiguous);
    std::vector<float> partials(gradPartialBytes(p.problem.shape) / sizeof(float), NAN);
    const std::string name = launched([&] {
        return launchGradPrepare(p.problem, source.view, dc_type, to, padded, bias.view.data, false,
                                 partials.data(), nullptr);
    });
    if (writes)
        expectTensor(dc, [&](int n, int channel, int position) {
            const int from = sourceChannel(c, channel, padded);
            const float u = from < 0 ? 0 : p.mask(n, from, position);
            if (u == 0) return 0.0F;
            const float dy = source.get(source.offset(n, from, position));
            return asType(dy * p.ratio(n, from, position) * u, dc_type);
        });
    for (int channel = 0; channel < c.channels; ++channel) {
        double sum = 0;
        double magnitude = 0;
        for (int n = 0; n < c.batch; ++n)
            for (int position = 0; position < source.positions; ++position) {
                const float u = p.mask(n, channel, position);
                if (u == 0) continue;
                const double term = static_cast<double>(source.get(source.offset(n, channel, position))) *
                                    static_cast<double>(u);
                sum += term;
                magnitude += std::abs(term);
            }
        const double unit = c.type == DataType::f32 ? 0x1p-22 : c.type == DataType::f16 ? 0x1p-10 : 0x1p-7;
        EXPECT_NEAR(static_cast<double>(bias.get(bias.offset(0, channel, 0))), sum, unit * magnitude)
            << "channel " << channel;
    }
    return name;
}

PassCase caseOf(DataType type, Place from, Place to) {
    PassCase c;
    c.type = type;
    c.from = from;
    c.to = to;
    return c;
}

constexpr DataType kTypes[] = {DataType::f32, DataType::f16, DataType::bf16};

TEST(LayoutPass, DenseTensorsThatLieAlikeGoByVectors) {
    for (const DataType type : kTypes) {
        const PassCase planes = caseOf(type, Place::contiguous, Place::contiguous);
        EXPECT_EQ(maskedCopyOf(planes), "maskedCopyPlanes");
        EXPECT_EQ(epilogueOf(planes, type), "epiloguePlanes");
        EXPECT_EQ(epilogueOf(planes, DataType::f32), "epiloguePlanes");
        EXPECT_EQ(gradientOf(planes, type), "gradPreparePlanes");
        const PassCase pixels = caseOf(type, Place::channels_last, Place::channels_last);
        EXPECT_EQ(maskedCopyOf(pixels), "maskedCopyPixels");
        EXPECT_EQ(epilogueOf(pixels, type), "epiloguePixels");
        EXPECT_EQ(epilogueOf(pixels, DataType::f32), "epiloguePixels");
        EXPECT_EQ(gradientOf(pixels, type), "gradPreparePixels");
        EXPECT_EQ(gradientOf(pixels, DataType::f32), "gradPreparePixels");
    }
}

TEST(LayoutPass, WhatLiesOtherwiseGoesByTiles) {
    for (const DataType type : kTypes) {
        for (const Place from : {Place::contiguous, Place::channels_last, Place::contiguous_gaps})
            for (const Place to : {Place::contiguous_gaps, Place::channels_last_gaps}) {
                EXPECT_EQ(maskedCopyOf(caseOf(type, from, to)), "maskedCopy");
                EXPECT_EQ(epilogueOf(caseOf(type, from, to), type), "epiloguePass");
                EXPECT_EQ(gradientOf(caseOf(type, from, to), type), "gradPrepare");
            }
        EXPECT_EQ(maskedCopyOf(caseOf(type, Place::contiguous, Place::channels_last)), "maskedCopy");
        EXPECT_EQ(gradientOf(caseOf(type, Place::channels_last, Place::contiguous), DataType::f32),
                  "gradPrepare");
        PassCase padded = caseOf(type, Place::channels_last, Place::channels_last);
        padded.channels = 6;
        padded.groups = 2;
        padded.padded = 8;
        EXPECT_EQ(maskedCopyOf(padded), "maskedCopy");
        EXPECT_EQ(gradientOf(padded, type), "gradPrepare");
    }
}

// Planes of 35 positions, or a source that begins within a vector: the same pass, an element at a time.
TEST(LayoutPass, WhatIsNoWholeVectorsGoesElementByElement) {
    for (const DataType type : kTypes) {
        PassCase odd = caseOf(type, Place::contiguous, Place::contiguous);
        odd.size[1] = 5;
        odd.size[2] = 7;
        PassCase shifted = caseOf(type, Place::contiguous, Place::contiguous);
        shifted.shift = 1;
        for (const PassCase& c : {odd, shifted}) {
            EXPECT_EQ(maskedCopyOf(c), "maskedCopyPlanes");
            EXPECT_EQ(epilogueOf(c, type), "epiloguePlanes");
            EXPECT_EQ(gradientOf(c, type), "gradPreparePlanes");
        }
        PassCase shifted_pixels = caseOf(type, Place::channels_last, Place::channels_last);
        shifted_pixels.shift = 1;
        EXPECT_EQ(maskedCopyOf(shifted_pixels), "maskedCopy");
        PassCase few = caseOf(type, Place::channels_last, Place::channels_last);
        few.channels = 3;
        EXPECT_EQ(epilogueOf(few, type), "epiloguePass");
    }
}

TEST(LayoutPass, PlanesOfAMaskNeedNotBeWholeVectorsOfChannels) {
    for (const int planes : {2, 8, 16}) {
        PassCase c = caseOf(DataType::f16, Place::channels_last, Place::channels_last);
        c.channels = 32;
        c.groups_of_mask = planes;
        const bool whole = c.channels / planes % 8 == 0;
        EXPECT_EQ(maskedCopyOf(c), whole ? "maskedCopyPixels" : "maskedCopy");
        EXPECT_EQ(epilogueOf(c, DataType::f16), whole ? "epiloguePixels" : "epiloguePass");
        EXPECT_EQ(gradientOf(c, DataType::f16), whole ? "gradPreparePixels" : "gradPrepare");
        c.from = c.to = Place::contiguous;
        EXPECT_EQ(epilogueOf(c, DataType::f16), "epiloguePlanes");
    }
}

TEST(LayoutPass, FractionsAreReadAsFloats) {
    for (const DataType type : kTypes)
        for (const Place place : {Place::contiguous, Place::channels_last, Place::contiguous_gaps}) {
            PassCase c = caseOf(type, place, place);
            c.mask_type = MaskType::fractional;
            maskedCopyOf(c);
            epilogueOf(c, type);
            gradientOf(c, type);
        }
}

// More pictures than sums have parts, planes longer than a part, more channels than a block, single pixels.
TEST(LayoutPass, EveryShapeIsCoveredOnce) {
    struct Shape {
        int batch, channels, size[3];
    };
    for (const Shape& shape : {Shape{600, 4, {1, 2, 2}}, Shape{1, 8, {1, 96, 100}}, Shape{2, 8, {3, 50, 64}},
                               Shape{1, 2064, {1, 2, 2}}, Shape{3, 300, {1, 1, 1}}, Shape{2, 24, {1, 3, 4}},
                               Shape{1, 1, {1, 40, 52}}})
        for (const Place place : {Place::contiguous, Place::channels_last}) {
            PassCase c = caseOf(DataType::f32, place, place);
            c.batch = shape.batch;
            c.channels = shape.channels;
            std::copy(shape.size, shape.size + 3, c.size);
            SCOPED_TRACE(::testing::Message() << c.batch << ' ' << c.channels << ' ' << c.size[1]);
            maskedCopyOf(c);
            epilogueOf(c, DataType::f32);
            gradientOf(c, DataType::f32);
            gradientOf(c, DataType::f32, false);
        }
}

TEST(LayoutPass, AnAccumulatorBecomesTheOutputInPlace) {
    for (const Place place : {Place::contiguous, Place::channels_last}) {
        PassCase c = caseOf(DataType::f32, place, place);
        const Problem p(c);
        std::mt19937 random(14);
        Tensor both(c.type, c.batch, c.channels, c.size, place);
        both.fill(random);
        const Tensor before = [&] {
            Tensor copy(c.type, c.batch, c.channels, c.size, place);
            both.forEach([&](int, int, int, int64_t at) { copy.set(at, both.get(at)); });
            return copy;
        }();
        EXPECT_EQ(launchEpilogue(p.problem, c.type, both.view, nullptr, both.view, nullptr), cudaSuccess);
        expectTensor(both, [&](int n, int channel, int position) {
            const float u = p.mask(n, channel, position);
            if (u == 0) return 0.0F;
            const float y =
                before.get(before.offset(n, channel, position)) * p.ratio(n, channel, position) * u;
            return y < 0 ? 0.25F * y : y;
        });
    }
}

}  // namespace
}  // namespace pconv::cuda
