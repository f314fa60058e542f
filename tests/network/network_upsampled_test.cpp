// Upsampling, and concatenation, in front of a convolution: computed without being written out where that
// pays.
#include <algorithm>
#include <cmath>
#include <random>

#include "conformance/builder.h"
#include "network/network_case.h"
#include "pconv/models.h"
#include "support/api.h"
#include "support/devices.h"

namespace pconv::test {
namespace {

using Size = std::vector<int64_t>;

// What is joined with the upsampled channels, and on which side.
enum class Joined { nothing, behind, in_front, input };

struct Shape {
    Size small, factor;
    int64_t channels = 16, out_channels = 24, kernel = 3;
    Joined joined = Joined::behind;
    PconvMaskType mask = PCONV_MASK_TYPE_BINARY;
    bool multi_channel = true;
    PconvLayout layout = PCONV_LAYOUT_CONTIGUOUS;
    PconvDataType type = PCONV_DATA_TYPE_F32;
    bool integers = false;
    int64_t batch = 2;
    bool fast = false;
};

class Numbers {
  public:
    explicit Numbers(const Shape& shape) : shape_(shape) {}
    void fill(std::vector<float>& values, int64_t count) {
        values.resize(static_cast<size_t>(count));
        for (float& v : values) {
            const auto whole = static_cast<float>(static_cast<int64_t>(engine_() % 8193) - 4096);
            v = shape_.integers ? std::round(whole / 1366) : roundedTo(whole / 4096, shape_.type);
        }
    }

  private:
    const Shape& shape_;
    std::mt19937 engine_{7};
};

NetworkLayer convLayer(const Shape& shape, int64_t in, int64_t out, int64_t kernel, const Size& stride,
                       Numbers& numbers) {
    NetworkLayer layer;
    Problem& conv = layer.conv;
    const size_t dims = shape.small.size();
    conv = Problem::ofDims(static_cast<int>(dims));
    conv.in_channels = in;
    conv.out_channels = out;
    conv.kernel.assign(dims, kernel);
    conv.padding.assign(dims, kernel / 2);
    conv.stride = stride;
    conv.multi_channel = shape.multi_channel;
    conv.activation = shape.integers ? PCONV_ACTIVATION_RELU : PCONV_ACTIVATION_LEAKY_RELU;
    if (shape.mask == PCONV_MASK_TYPE_NONE) {
        layer.type = PCONV_LAYER_TYPE_CONV;
        conv.normalization = PCONV_NORMALIZATION_WEIGHT_MAGNITUDE;
        layer.ignores_mask = true;
    }
    int64_t taps = 1;
    for (size_t d = 0; d < dims; ++d) taps *= kernel;
    numbers.fill(conv.weight, out * in * taps);
    numbers.fill(conv.bias, out);
    return layer;
}

// A small U-Net: one layer in the input's size, one that makes it small, and back.
NetworkProblem makeUNet(const Shape& shape) {
    Numbers numbers(shape);
    NetworkProblem p;
    p.batch = shape.batch;
    p.layout = shape.layout;
    p.fast_math = shape.fast;
    p.data_type = shape.type;
    p.input.channels = 3;
    for (size_t d = 0; d < shape.small.size(); ++d) p.input.size.push_back(shape.small[d] * shape.factor[d]);
    const int64_t plane = product(p.input.size);
    numbers.fill(p.input.values, p.batch * p.input.channels * plane);
    p.input.mask_type = shape.mask;
    if (shape.mask != PCONV_MASK_TYPE_NONE) {
        p.input.mask = {{1, 3, std::vector<float>(static_cast<size_t>(plane), 1.0F)}};
        std::vector<float>& mask = p.input.mask[0].values;
        for (size_t i = 0; i < mask.size(); ++i)
            if (i % 7 == 0 || (i > mask.size() / 3 && i < mask.size() / 2))
                mask[i] = shape.mask == PCONV_MASK_TYPE_FRACTIONAL && i % 7 == 0 ? 0.25F : 0.0F;
    }
    p.layers.push_back(convLayer(shape, 3, 5, 3, Size(shape.small.size(), 1), numbers));
    p.layers.push_back(convLayer(shape, 5, shape.channels, 3, shape.factor, numbers));
    p.layers[1].input = 1;
    NetworkLayer up;
    up.type = PCONV_LAYER_TYPE_UPSAMPLE;
    up.factor = shape.factor;
    up.input = 2;
    p.layers.push_back(up);
    int64_t channels = shape.channels;
    if (shape.joined != Joined::nothing) {
        NetworkLayer join;
        join.type = PCONV_LAYER_TYPE_CONCAT;
        join.input = shape.joined == Joined::in_front ? 1 : 3;
        join.second_input = shape.joined == Joined::in_front ? 3 : shape.joined == Joined::input ? 0 : 1;
        channels += shape.joined == Joined::input ? 3 : 5;
        p.layers.push_back(join);
    }
    NetworkLayer last =
        convLayer(shape, channels, shape.out_channels, shape.kernel, Size(shape.small.size(), 1), numbers);
    last.input = static_cast<int>(p.layers.size());
    p.layers.push_back(last);
    return p;
}

OwnedDevice openTelling(std::string& told) {
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.verbosity = 1;
    options.user = &told;
    options.message_callback = [](void* user, const char* line) { *static_cast<std::string*>(user) += line; };
    PconvDevice device = nullptr;
    check(pconvCreateDevice("cpu", &options, &device));
    return OwnedDevice(device);
}

bool hasOneDnn() {
    return rowNamed("cpu:onednn") != nullptr;
}

double bound(const Shape& shape) {
    if (shape.integers) return 0;
    if (shape.fast) return 2e-5;  // transforms round by ten times as much
    return shape.type == PCONV_DATA_TYPE_F32 ? 2e-6 : shape.type == PCONV_DATA_TYPE_F16 ? 4e-3 : 4e-2;
}

// Holds a network to the oracle, and to its being fused or not.
void expectAnswer(const Shape& shape, bool fused = true) {
    std::string told;
    const OwnedDevice device = openTelling(told);
    if (!hasOneDnn()) GTEST_SKIP() << "no cpu:onednn in this build";
    const NetworkProblem problem = makeUNet(shape);
    NetworkCase network(device.get(), problem);
    EXPECT_EQ(told.find("channels upsampled by") != std::string::npos, fused) << told;
    check(network.forward());
    const std::vector<float> got = network.output();
    const std::vector<float> expected = solve(problem).back().values;
    ASSERT_EQ(got.size(), expected.size());
    double largest = 0;
    for (const float e : expected) largest = std::max(largest, std::abs(static_cast<double>(e)));
    ASSERT_GT(largest, 0.1);
    for (size_t i = 0; i < got.size(); ++i)
        ASSERT_LE(std::abs(static_cast<double>(got[i]) - static_cast<double>(expected[i])),
                  bound(shape) * largest)
            << "element " << i << " is " << got[i] << "; expected " << expected[i];
}

TEST(NetworkUpsampled, AloneAndJoinedOnEitherSide) {
    for (const Joined joined : {Joined::nothing, Joined::behind, Joined::in_front, Joined::input})
        for (const bool multi_channel : {true, false}) {
            if (!multi_channel && joined != Joined::nothing) continue;  // joined masks are several
            SCOPED_TRACE(static_cast<int>(joined));
            Shape shape{{9, 11}, {2, 2}};
            shape.joined = joined;
            shape.multi_channel = multi_channel;
            expectAnswer(shape);
        }
}

TEST(NetworkUpsampled, WindowsAndFactors) {
    for (const int64_t kernel : {3, 5, 7})
        for (const Size& factor : {Size{2, 2}, Size{3, 1}, Size{1, 2}, Size{3, 4}}) {
            SCOPED_TRACE("kernel " + std::to_string(kernel) + ", factors " + std::to_string(factor[0]) +
                         " and " + std::to_string(factor[1]));
            Shape shape{{10, 13}, factor};
            shape.kernel = kernel;
            shape.out_channels = 17;
            expectAnswer(shape);
        }
}

TEST(NetworkUpsampled, OneAndThreeDimensions) {
    Shape line{{80}, {2}};
    expectAnswer(line);
    Shape volume{{4, 5, 6}, {2, 2, 2}};
    expectAnswer(volume);
    volume.factor = {1, 2, 2};
    expectAnswer(volume);
}

// All phases of so few channels are one convolution.
TEST(NetworkUpsampled, FewChannelsOut) {
    for (const int64_t channels : {1, 3, 4, 5})
        for (const Joined joined : {Joined::nothing, Joined::behind, Joined::input}) {
            SCOPED_TRACE(std::to_string(channels) + " channels");
            Shape shape{{9, 12}, {2, 2}};
            shape.out_channels = channels;
            shape.joined = joined;
            expectAnswer(shape);
            shape.layout = PCONV_LAYOUT_CHANNELS_LAST;
            expectAnswer(shape);
        }
}

TEST(NetworkUpsampled, LayoutsTypesAndNoMask) {
    for (const PconvDataType type : {PCONV_DATA_TYPE_F32, PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16})
        for (const PconvLayout layout : {PCONV_LAYOUT_CONTIGUOUS, PCONV_LAYOUT_CHANNELS_LAST})
            for (const PconvMaskType mask : {PCONV_MASK_TYPE_BINARY, PCONV_MASK_TYPE_NONE}) {
                Shape shape{{9, 9}, {2, 2}};
                shape.type = type;
                shape.layout = layout;
                shape.mask = mask;
                shape.joined = Joined::input;
                expectAnswer(shape);
            }
}

// Summed weights of whole numbers are exact, and so is everything after them.
TEST(NetworkUpsampled, WholeNumbersAreExact) {
    for (const int64_t channels : {3, 32}) {
        Shape shape{{12, 10}, {2, 2}};
        shape.integers = true;
        shape.mask = PCONV_MASK_TYPE_NONE;
        shape.out_channels = channels;
        expectAnswer(shape);
    }
}

// More boxes than one, and boxes that are holes alone.
TEST(NetworkUpsampled, LargerThanABox) {
    Shape shape{{70, 66}, {2, 2}};
    shape.channels = 24;
    shape.out_channels = 20;
    shape.batch = 1;
    expectAnswer(shape);
    shape.out_channels = 3;
    expectAnswer(shape);
}

// What it runs with is made once, and points into scratch memory that is another when a larger operator has
// come.
TEST(NetworkUpsampled, FollowsTheScratchMemory) {
    const OwnedDevice device = openDevice("cpu");
    const NetworkProblem small_problem = makeUNet({{24, 20}, {2, 2}});
    NetworkCase small(device.get(), small_problem);
    check(small.forward());
    const std::vector<float> before = small.output();
    Shape shape{{120, 100}, {2, 2}};
    shape.channels = 64;
    const NetworkProblem large_problem = makeUNet(shape);
    NetworkCase large(device.get(), large_problem);
    check(large.forward());
    check(small.forward());
    EXPECT_EQ(small.output(), before);
}

std::vector<float> outputOf(PconvDevice device, const NetworkProblem& problem) {
    NetworkCase network(device, problem);
    check(network.forward());
    return network.output();
}

// Transformed as they are read, from the small tensor and the other one.
TEST(NetworkUpsampled, FastMath) {
    const OwnedDevice device = openDevice("cpu");
    for (const Size& factor : {Size{2, 2}, Size{3, 1}, Size{1, 2}, Size{3, 4}})
        for (const Joined joined : {Joined::nothing, Joined::behind, Joined::in_front, Joined::input}) {
            SCOPED_TRACE("factors " + std::to_string(factor[0]) + " and " + std::to_string(factor[1]));
            Shape shape{{21, 26}, factor};
            shape.joined = joined;
            shape.multi_channel = joined != Joined::nothing;
            shape.channels = 24;  // more than are loaded at a time
            shape.fast = true;
            expectAnswer(shape);
            NetworkProblem problem = makeUNet(shape);
            const std::vector<float> fast = outputOf(device.get(), problem);
            problem.fast_math = false;
            EXPECT_NE(outputOf(device.get(), problem), fast) << "nothing was transformed";
        }
    Shape volume{{3, 10, 11}, {1, 2, 2}};
    volume.fast = true;
    expectAnswer(volume);
    // With steps in depth, which the convolution that takes over from transforms has not for these channels.
    NetworkProblem dilated = makeUNet(volume);
    Problem& last = dilated.layers.back().conv;
    last.dilation = {2, 1, 1};
    last.padding = {2, 1, 1};
    NetworkCase network(device.get(), dilated);
    check(network.forward());
    const std::vector<float> expected = solve(dilated).back().values;
    const std::vector<float> got = network.output();
    ASSERT_EQ(got.size(), expected.size());
    const float largest = *std::max_element(expected.begin(), expected.end());
    for (size_t i = 0; i < got.size(); ++i)
        ASSERT_NEAR(got[i], expected[i], bound(volume) * static_cast<double>(largest)) << i;
}

TEST(NetworkUpsampled, LeftAloneWhereItDoesNotPayOrMayNot) {
    Shape one_tap{{9, 11}, {2, 2}};
    one_tap.kernel = 1;
    expectAnswer(one_tap, false);
    Shape few{{5, 5}, {2, 2}};
    expectAnswer(few, false);
    Shape fractional{{9, 11}, {2, 2}};
    fractional.mask = PCONV_MASK_TYPE_FRACTIONAL;
    expectAnswer(fractional, false);
    // What is upsampled is read by another layer too.
    std::string told;
    const OwnedDevice device = openTelling(told);
    NetworkProblem problem = makeUNet(Shape{{9, 11}, {2, 2}});
    NetworkLayer again = problem.layers[3];
    again.input = 4;
    again.second_input = 3;
    problem.layers.insert(problem.layers.end() - 1, again);
    Numbers numbers(Shape{});
    Problem& conv = problem.layers.back().conv;
    problem.layers.back().input = 5;
    conv.in_channels += 16;
    numbers.fill(conv.weight, conv.out_channels * conv.in_channels * 9);
    const NetworkCase network(device.get(), problem);
    EXPECT_EQ(told.find("channels upsampled by"), std::string::npos) << told;
}

// Holes of the network's own input are not read, wherever it is joined.
TEST(NetworkUpsampled, NothingIsReadInHoles) {
    std::string told;
    const OwnedDevice device = openTelling(told);
    Shape shape{{9, 11}, {2, 2}};
    shape.joined = Joined::input;
    NetworkProblem problem = makeUNet(shape);
    NetworkCase clean(device.get(), problem);
    check(clean.forward());
    const int64_t plane = product(problem.input.size);
    for (int64_t i = 0; i < static_cast<int64_t>(problem.input.values.size()); ++i)
        if (problem.input.mask[0].values[static_cast<size_t>(i % plane)] == 0)
            problem.input.values[static_cast<size_t>(i)] = NAN;
    NetworkCase holed(device.get(), problem);
    check(holed.forward());
    EXPECT_EQ(clean.output(), holed.output());
}

// The joined tensor, the largest of a U-Net, is not there.
TEST(NetworkUpsampled, TakesLessMemory) {
    const auto bytesOf = [](const char* implementation) {
        PconvDeviceOptions options = pconvDefaultDeviceOptions();
        int64_t bytes = 0;
        options.user = &bytes;
        options.allocation_callback = [](void* user, int64_t count) {
            *static_cast<int64_t*>(user) += count;
        };
        PconvDevice device = nullptr;
        check(pconvCreateDevice("cpu", &options, &device));
        const OwnedDevice owned(device);
        Shape shape{{128, 128}, {2, 2}};
        shape.channels = 64;
        shape.out_channels = 16;
        shape.batch = 1;
        NetworkProblem problem = makeUNet(shape);
        std::vector<PconvLayer> layers;
        std::vector<std::vector<int32_t>> more;
        PconvNetworkDesc desc = describe(problem, layers, more);
        for (PconvLayer& layer : layers) layer.conv.implementation = implementation;
        OwnedNetwork network;
        check(pconvCreateNetwork(device, &desc, network.out()));
        return bytes;
    };
    if (!hasOneDnn()) GTEST_SKIP() << "no cpu:onednn in this build";
    // cpu:reference has no memory of its own but the weights.
    const int64_t joined_bytes = (64 + 5) * 256 * 256 * 4;
    EXPECT_LT(bytesOf("cpu:onednn"), bytesOf("cpu:reference") - joined_bytes / 4);
}

// Weights once and the largest live set of features as they are described; two threads' scratch memory is in
// the tenth, and the mask side.
TEST(NetworkUpsampled, APublishedUNetTakesLittleMoreThanItsLeast) {
    if (!hasOneDnn()) GTEST_SKIP() << "no cpu:onednn in this build";
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    int64_t bytes = 0;
    options.threads = 2;
    options.user = &bytes;
    options.allocation_callback = [](void* user, int64_t count) { *static_cast<int64_t*>(user) += count; };
    const OwnedDevice device = openDevice("cpu", &options);
    Owned<PconvModel, pconvReleaseModel> model;
    check(pconvCreateModel("pconv_unet", nullptr, model.out()));
    PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
    desc.size[0] = desc.size[1] = 512;
    check(pconvGetModelNetworkDesc(model.get(), &desc));
    int64_t least = 0;
    PconvLayerInfo layer = pconvDefaultLayerInfo();
    for (int32_t i = 0; i < desc.layer_count; ++i) {
        check(pconvGetModelLayerInfo(model.get(), desc.size, i, &layer));
        least += layer.parameters * 4;
    }
    least += layer.arena_bytes;
    OwnedNetwork network;
    check(pconvCreateNetwork(device.get(), &desc, network.out()));
    EXPECT_GT(bytes, least / 2);
    EXPECT_LE(static_cast<double>(bytes), 1.1 * static_cast<double>(least));
}

}  // namespace
}  // namespace pconv::test
