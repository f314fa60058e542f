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
        PconvDeviceOptions options = pconvDefaultDeviceOptions();
        options.threads = 2;
        options.user = this;
        options.allocation_callback = [](void* user, int64_t bytes) {
            auto& self = *static_cast<NetworkMemory*>(user);
            self.now_ += bytes;
            self.most_ = std::max(self.most_, self.now_);
        };
        device_.emplace("cpu", &options);
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
        PconvNetworkDesc desc = pconvDefaultNetworkDesc(2);
        desc.channels = kChannels[0];
        desc.size[0] = desc.size[1] = kSide;
        desc.layers = layers_.data();
        desc.layer_count = 3;
        network_.emplace(*device_, desc);
    }

    static PconvTensorAnswer give(void* /*user*/, const char* /*name*/, int32_t rank, const int64_t* shape,
                                  int32_t /*optional*/, float* values) {
        int64_t count = 1;
        for (int32_t d = 0; d < rank; ++d) count *= shape[d];
        if (values != nullptr) std::fill_n(values, count, 0.01F);
        return PCONV_TENSOR_GIVEN;
    }

    static int64_t weightBytes(size_t layer) {
        return 4 * (9 * kChannels[layer] * kChannels[layer + 1] + kChannels[layer + 1]);
    }

    static constexpr const char* kNames[] = {"a", "b", "c"};
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
