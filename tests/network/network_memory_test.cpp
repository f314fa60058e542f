// How much memory a network takes on the CPU, beside the least that it could.
#include <gtest/gtest.h>

#include <algorithm>

#include "pconv/pconv.hpp"
#include "support/api.h"
#include "support/handles.h"

namespace pconv::test {
namespace {

constexpr int64_t kSide = 128;
constexpr int64_t kChannels[] = {32, 64, 128, 64};

class NetworkMemory : public ::testing::Test {
  protected:
    void SetUp() override {
        options_.threads = 2;
        options_.user = this;
        options_.allocation_callback = [](void* user, int64_t bytes) {
            auto& self = *static_cast<NetworkMemory*>(user);
            self.now_ += bytes;
            self.most_ = std::max(self.most_, self.now_);
        };
        device_.emplace("cpu", &options_);
        for (size_t i = 0; i < 3; ++i) {
            PconvLayer layer = pconvDefaultLayer(2);
            layer.name = kNames[i];
            layer.conv.out_channels = kChannels[i + 1];
            for (int d = 0; d < 2; ++d) {
                layer.conv.kernel[d] = 3;
                layer.conv.padding[d] = 1;
            }
            layers_.push_back(layer);
        }
        create(0);
    }

    void create(int32_t resizable) {
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
        desc.channels = kChannels[0];
        desc.size[0] = desc.size[1] = kSide;
        desc.layers = layers_.data();
        desc.layer_count = 3;
        desc.resizable = resizable;
        network_.reset();
        network_.emplace(*device_, desc);
    }

    static PconvTensorAnswer give(void* /*user*/, const char* /*name*/, int32_t rank, const int64_t* shape,
                                  int32_t /*optional*/, float* values) {
        int64_t count = 1;
        for (int32_t d = 0; d < rank; ++d) count *= shape[d];
        if (values != nullptr) std::fill_n(values, count, 0.01F);
        return PCONV_TENSOR_GIVEN;
    }

    void resize(int64_t side) {
        const int64_t size[PCONV_MAX_SPATIAL_DIMS] = {side, side, 1};
        check(pconvResizeNetwork(network_->get(), 1, size));
    }

    static int64_t arenaBytes(int64_t side) { return 4 * side * side * (kChannels[1] + kChannels[2]); }

    static int64_t weightBytes(size_t layer) {
        return 4 * (9 * kChannels[layer] * kChannels[layer + 1] + kChannels[layer + 1]);
    }

    static constexpr const char* kNames[] = {"a", "b", "c"};
    PconvDeviceOptions options_ = pconvDefaultDeviceOptions();
    int64_t now_ = 0, most_ = 0;
    std::optional<Device> device_;
    std::vector<PconvLayer> layers_;
    std::optional<Network> network_;
};

// Input, output, mask, weights once, and the two outputs between layers.
TEST_F(NetworkMemory, APassTakesATenthMoreThanTheLeast) {
    check(pconvReadNetworkWeights(network_->get(), give, nullptr));
    const Tensor input(*device_, {1, kChannels[0], kSide, kSide});
    const Tensor output(*device_, {1, kChannels[3], kSide, kSide});
    const Tensor mask(*device_, {1, 1, kSide, kSide}, std::vector<uint8_t>(kSide * kSide, 1));
    most_ = now_;
    network_->forward(input.view(), mask.view(), output.view());
    int64_t least = kSide * kSide;
    for (const int64_t channels : kChannels) least += 4 * kSide * kSide * channels;
    for (size_t i = 0; i < 3; ++i) least += weightBytes(i);
    EXPECT_LE(static_cast<double>(most_), 1.1 * static_cast<double>(least));
    EXPECT_GE(most_, least);
}

// While weights are loaded, one layer's are there twice.
TEST_F(NetworkMemory, WeightsAreLoadedOneByOne) {
    const int64_t before = now_;
    most_ = now_;
    check(pconvReadNetworkWeights(network_->get(), give, nullptr));
    EXPECT_LE(most_ - before, std::max(weightBytes(1), weightBytes(2)) + 1024);
    EXPECT_LE(now_ - before, 1024);  // where they are packed was made with the network
}

// The weights as given, those packed for two shapes, and one arena: what is said in network.h.
TEST_F(NetworkMemory, AResizableNetworkHoldsTwoShapes) {
    create(1);
    check(pconvReadNetworkWeights(network_->get(), give, nullptr));
    const int64_t alone = now_;
    int64_t weights = 0;
    for (size_t i = 0; i < 3; ++i) weights += weightBytes(i);
    EXPECT_LE(alone, 2.1 * static_cast<double>(weights) + 1.1 * static_cast<double>(arenaBytes(kSide)));
    // A smaller shape lies in the larger's arena: what comes are packed weights and the planes of masks.
    const auto shape = static_cast<int64_t>(1.1 * static_cast<double>(weights)) + 3 * 5 * kSide * kSide;
    resize(kSide / 2);
    EXPECT_LE(now_ - alone, shape);
    const int64_t both = now_;
    most_ = now_;
    resize(kSide);
    EXPECT_EQ(most_, both);
    // A third takes the place of the one before, and the arena becomes no larger than the two ask for.
    resize(kSide / 4);
    EXPECT_LE(now_, both);
    EXPECT_LE(most_, both + 1024);
    resize(kSide / 2);
    EXPECT_LE(now_, both - arenaBytes(kSide) + arenaBytes(kSide / 2));
}

// Where memory ends before a network runs, nothing is leaked; on the way to another size, it runs in the one
// that it has.
TEST_F(NetworkMemory, ALimitAnywhereLeavesTheNetworkAsItWas) {
    int refused = 0, refused_resizing = 0;
    bool fits = false;
    for (uint64_t limit = 1 << 20; !fits; limit += limit / 8) {
        ASSERT_LT(limit, uint64_t{1} << 30);
        network_.reset();
        device_.reset();
        ASSERT_EQ(now_, 0) << limit;
        options_.memory_limit = limit;
        device_.emplace("cpu", &options_);
        try {
            create(1);
            check(pconvReadNetworkWeights(network_->get(), give, nullptr));
            const Tensor input(*device_, {1, kChannels[0], kSide, kSide});
            const Tensor output(*device_, {1, kChannels[3], kSide, kSide});
            const Tensor mask(*device_, {1, 1, kSide, kSide}, std::vector<uint8_t>(kSide * kSide, 1));
            network_->forward(input.view(), mask.view(), output.view());
            const std::vector<float> values = output.read<float>();
            const int64_t size[PCONV_MAX_SPATIAL_DIMS] = {2 * kSide, kSide, 1};
            const PconvStatus status = pconvResizeNetwork(network_->get(), 1, size);
            fits = status == PCONV_SUCCESS;
            if (fits) break;
            EXPECT_EQ(status, PCONV_ERROR_OUT_OF_MEMORY) << pconvGetLastError();
            ++refused_resizing;
            network_->forward(input.view(), mask.view(), output.view());
            EXPECT_EQ(output.read<float>(), values);
        } catch (const Error& error) {
            ASSERT_EQ(error.status(), PCONV_ERROR_OUT_OF_MEMORY) << error.what();
            ++refused;
        }
    }
    EXPECT_GT(refused, 3);
    EXPECT_GT(refused_resizing, 1);
}

// A fault in the last leaves a network without weights, as it was.
TEST_F(NetworkMemory, AFaultLeavesNoWeights) {
    const auto fails = [](void* user, const char* name, int32_t rank, const int64_t* shape, int32_t optional,
                          float* values) {
        if (*name == 'c') return PCONV_TENSOR_MISSING;
        return give(user, name, rank, shape, optional, values);
    };
    EXPECT_INVALID(pconvReadNetworkWeights(network_->get(), fails, nullptr), "there is no tensor 'c.weight'");
    const Tensor input(*device_, {1, kChannels[0], kSide, kSide});
    const Tensor output(*device_, {1, kChannels[3], kSide, kSide});
    const Tensor mask(*device_, {1, 1, kSide, kSide}, std::vector<uint8_t>(kSide * kSide, 1));
    EXPECT_INVALID(pconvForwardNetwork(network_->get(), &input.view(), &mask.view(), &output.view()),
                   "layer 0 (a): the weights have not been set");
    check(pconvReadNetworkWeights(network_->get(), give, nullptr));
    // With weights, they are those of before.
    EXPECT_INVALID(pconvReadNetworkWeights(network_->get(), fails, nullptr), "there is no tensor 'c.weight'");
    network_->forward(input.view(), mask.view(), output.view());
}

}  // namespace
}  // namespace pconv::test
