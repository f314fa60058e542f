// Random networks against the oracle, layer by layer.
#include <gtest/gtest.h>

#include <cmath>
#include <iostream>

#include "network/network_case.h"
#include "support/api.h"
#include "support/devices.h"

namespace pconv::test {
namespace {

// Rounding, through a few layers: far below what any wrong tap, mask or slice would make.
double bound(PconvDataType type) {
    return type == PCONV_DATA_TYPE_F32 ? 1e-4 : type == PCONV_DATA_TYPE_F16 ? 0.02 : 0.15;
}

void expectClose(const std::vector<float>& values, const std::vector<float>& expected, double tolerance,
                 const char* what) {
    ASSERT_EQ(values.size(), expected.size()) << what;
    double largest = 0.01;
    for (const float e : expected) largest = std::max(largest, std::abs(static_cast<double>(e)));
    for (size_t i = 0; i < values.size(); ++i)
        ASSERT_LE(std::abs(static_cast<double>(values[i]) - static_cast<double>(expected[i])),
                  tolerance * largest)
            << what << " " << i << " is " << values[i] << "; expected " << expected[i];
}

// A plane for each channel: neighbours that share one may be one segment or several.
std::vector<float> channelPlanes(const std::vector<Segment>& mask, int64_t batch) {
    std::vector<float> result;
    for (int64_t image = 0; image < batch; ++image)
        for (const Segment& segment : mask) {
            const auto pixels = static_cast<int64_t>(segment.values.size()) / (batch * segment.planes);
            for (int64_t plane = 0; plane < segment.planes; ++plane) {
                const auto begin = segment.values.begin() + (image * segment.planes + plane) * pixels;
                for (int64_t i = 0; i < segment.multiplicity; ++i)
                    result.insert(result.end(), begin, begin + pixels);
            }
        }
    return result;
}

void expectAnswer(const NetworkCase& network, const Feature& expected, PconvDataType type, size_t set = 0) {
    expectClose(network.output(set), expected.values, bound(type), "output");
    // The mask of the caller comes back as it was given.
    const std::vector<float> mask = channelPlanes(network.outputMask(), expected.mask_batch);
    const std::vector<float> planes = channelPlanes(expected.mask, expected.mask_batch);
    if (expected.mask_type == PCONV_MASK_TYPE_FRACTIONAL)
        expectClose(mask, planes, 1e-5, "output mask");
    else
        EXPECT_EQ(mask, planes);
}

class RandomNetworks : public ::testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        for (const Row& row : allRows())
            if (row.backend == GetParam() && device_ == nullptr) {
                device_ = sharedDevice(row.device_index);
                software_ = row.software;
            }
        if (device_ == nullptr) GTEST_SKIP() << "no " << GetParam() << " device";
    }
    PconvDevice device_ = nullptr;
    bool software_ = false;
};

TEST_P(RandomNetworks, EqualTheLayersOneByOne) {
    const uint32_t count = software_ ? 8 : 200;
    size_t layers = 0;
    for (uint32_t seed = 1; seed <= count; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        const NetworkProblem problem = randomNetwork(seed);
        layers += problem.layers.size();
        NetworkCase network(device_, problem);
        check(network.forward());
        expectAnswer(network, solve(problem).back(), problem.data_type);
        if (HasFatalFailure()) return;
    }
    EXPECT_GE(layers, 3 * count);
}

TEST_P(RandomNetworks, SixteenBitTypes) {
    for (const PconvDataType type : {PCONV_DATA_TYPE_F16, PCONV_DATA_TYPE_BF16})
        for (uint32_t seed = 1; seed <= (software_ ? 1U : 30U); ++seed) {
            SCOPED_TRACE("seed " + std::to_string(seed));
            NetworkProblem problem = randomNetwork(seed);
            problem.data_type = type;
            for (float& x : problem.input.values) x = roundedTo(x, type);
            for (NetworkLayer& layer : problem.layers) {
                for (float& w : layer.conv.weight) w = roundedTo(w, type);
                for (float& b : layer.conv.bias) b = roundedTo(b, type);
            }
            NetworkCase network(device_, problem);
            check(network.forward());
            expectAnswer(network, solve(problem).back(), type);
            if (HasFatalFailure()) return;
        }
}

// Contents change under a recorded pass; several passes are kept and told apart.
TEST_P(RandomNetworks, RecordedPassesSeeNewContents) {
    NetworkProblem problem = randomNetwork(1);
    for (uint32_t seed = 2; problem.input.mask_type != PCONV_MASK_TYPE_BINARY || problem.layers.size() < 4;
         ++seed)
        problem = randomNetwork(seed);
    NetworkCase network(device_, problem);
    NetworkProblem other = problem;
    for (float& x : other.input.values) x = -2 * x;
    for (float& m : other.input.mask[0].values) m = 1 - m;
    const auto expected = solve(problem).back();
    const auto expected_other = solve(other).back();
    for (int round = 0; round < 3; ++round) {
        network.writeInput(0, problem.input.values);
        network.writeMask(0, problem.input.mask[0].values);
        check(network.forward(0));
        expectAnswer(network, expected, problem.data_type);
        network.writeInput(0, other.input.values);
        network.writeMask(0, other.input.mask[0].values);
        check(network.forward(0));
        expectAnswer(network, expected_other, problem.data_type);
        // In other tensors, with the mask of just now, whatever is in theirs.
        network.writeInput(1, other.input.values);
        check(network.forward(1, false));
        expectAnswer(network, expected_other, problem.data_type, 1);
    }
}

TEST_P(RandomNetworks, MoreTensorsThanPassesAreKept) {
    const NetworkProblem problem = randomNetwork(5);
    NetworkCase network(device_, problem);
    const auto expected = solve(problem).back();
    for (size_t set = 0; set < 20; ++set) check(network.forward(set));
    for (size_t set = 0; set < 20; ++set) expectAnswer(network, expected, problem.data_type, set);
    check(network.forward(0));
    expectAnswer(network, expected, problem.data_type, 0);
}

// The same weights for another size and batch, and back; a size that a layer does not allow changes nothing.
TEST_P(RandomNetworks, ResizedOnesKeepTheirWeights) {
    const uint32_t count = software_ ? 2 : 60;
    uint32_t resized = 0;
    for (uint32_t seed = 1; seed <= count; ++seed) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        const NetworkProblem small = randomNetwork(seed);
        NetworkProblem large = small;
        large.batch = 3;
        if (large.input.mask_batch != 1) large.input.mask_batch = 3;
        for (int64_t& size : large.input.size) size += 2;
        const auto fill = [](std::vector<float>& values, int64_t elements) {
            const size_t before = values.size();
            values.resize(static_cast<size_t>(elements));
            for (size_t i = before; i < values.size(); ++i) values[i] = values[i - before];
        };
        const int64_t plane = product(large.input.size);
        fill(large.input.values, large.batch * large.input.channels * plane);
        for (Segment& segment : large.input.mask)
            fill(segment.values, large.input.mask_batch * segment.planes * plane);
        NetworkCase network(device_, small, true);
        check(network.forward());
        expectAnswer(network, solve(small).back(), small.data_type);
        if (network.resize(large)) {
            ++resized;
            if (!large.input.mask.empty()) {
                EXPECT_INVALID(network.forward(0, false), "mask is null; expected one");
            }
            check(network.forward());
            expectAnswer(network, solve(large).back(), large.data_type);
            ASSERT_TRUE(network.resize(small)) << pconvGetLastError();
        } else {
            EXPECT_EQ(std::string(pconvGetLastError()).rfind("layer ", 0), 0U) << pconvGetLastError();
        }
        check(network.forward());
        expectAnswer(network, solve(small).back(), small.data_type);
        if (HasFailure()) return;
    }
    EXPECT_GE(resized, count / 2);
}

INSTANTIATE_TEST_SUITE_P(Devices, RandomNetworks, ::testing::Values("cpu", "vulkan", "cuda"),
                         [](const auto& row) { return row.param; });

}  // namespace
}  // namespace pconv::test
