// Weights from files under PyTorch's names.
#include <cmath>
#include <filesystem>
#include <fstream>

#include "core/half.h"
#include "files/safetensors.h"
#include "network/network_case.h"
#include "support/api.h"

namespace pconv::test {
namespace {

class NetworkWeights : public ::testing::Test {
  protected:
    NetworkWeights() {
        desc_ = pconvDefaultNetworkDesc(1);
        desc_.channels = 2;
        desc_.size[0] = 3;
        layer_ = pconvDefaultLayer(1);
        layer_.name = "enc1";
        layer_.conv.out_channels = 2;
        desc_.layer_count = 1;
        desc_.layers = &layer_;
    }
    ~NetworkWeights() override { std::filesystem::remove(path_); }

    void create() { check(pconvCreateNetwork(device_.get(), &desc_, network_.out())); }

    struct Entry {
        std::string name, type;
        std::vector<uint64_t> shape;
        std::vector<float> values;
    };
    void write(const std::vector<Entry>& entries) {
        std::vector<std::vector<uint16_t>> halves(entries.size());
        std::vector<SafetensorsOutput> outputs;
        for (size_t i = 0; i < entries.size(); ++i) {
            for (const float value : entries[i].values)
                halves[i].push_back(entries[i].type == "F16" ? f16FromFloat(value) : bf16FromFloat(value));
            const bool full = entries[i].type == "F32";
            const void* data = full ? static_cast<const void*>(entries[i].values.data()) : halves[i].data();
            outputs.push_back({entries[i].name, entries[i].type, entries[i].shape, data});
        }
        AtomicFile file(path_);
        writeSafetensors(file, outputs, {});
        file.commit();
    }
    PconvStatus load(const char* prefix = nullptr) {
        return pconvLoadNetworkWeights(network_.get(), path_.string().c_str(), prefix);
    }
    std::vector<float> run(const std::vector<float>& input) {
        const OwnedBuffer from = makeBuffer(device_.get(), input);
        const OwnedBuffer to = makeBuffer(device_.get(), std::vector<float>(6, -7.0F));
        const OwnedBuffer ones = makeBuffer(device_.get(), std::vector<uint8_t>{1, 1, 0});
        const PconvTensor in = makeTensor(from.get(), PCONV_DATA_TYPE_F32, {1, 2, 3});
        const PconvTensor mask = makeTensor(ones.get(), PCONV_DATA_TYPE_U8, {1, 1, 3});
        const PconvTensor out = makeTensor(to.get(), PCONV_DATA_TYPE_F32, {1, 2, 3});
        check(pconvForwardNetwork(network_.get(), &in, &mask, &out));
        return readBuffer<float>(to.get(), 6);
    }

    const std::filesystem::path path_ =
        std::filesystem::temp_directory_path() /
        ("pconv_network_weights_" +
         std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()) + ".safetensors");
    OwnedDevice device_ = openDevice("cpu");
    OwnedNetwork network_;
    PconvNetworkDesc desc_{};
    PconvLayer layer_{};
    const std::vector<float> x_{1, 2, 3, 10, 20, 30};
    const Entry weight_{"enc1.weight", "F32", {2, 2, 1}, {1, 2, -1, 0.5F}};
    const Entry bias_{"enc1.bias", "F32", {2}, {0.25F, -0.5F}};
};

TEST_F(NetworkWeights, OfPyTorchsNames) {
    create();
    write({weight_, bias_, {"other.weight", "F32", {1}, {9}}});
    check(load());
    EXPECT_EQ(run(x_), (std::vector<float>{21.25F, 42.25F, 0, 3.5F, 7.5F, 0}));
}

TEST_F(NetworkWeights, BehindAPrefix) {
    create();
    write({{"module.enc1.weight", "F32", {2, 2, 1}, weight_.values},
           {"module.enc1.bias", "F32", {2}, bias_.values}});
    EXPECT_INVALID(load(), "has no tensor 'enc1.weight' of shape [2, 2, 1]");
    check(load("module."));
    EXPECT_EQ(run(x_)[0], 21.25F);
}

// What a network was made for before is loaded and loaded again with the others.
TEST_F(NetworkWeights, AreThoseOfEverySize) {
    desc_.resizable = 1;
    create();
    const int64_t small[PCONV_MAX_SPATIAL_DIMS] = {3, 1, 1};
    const int64_t large[PCONV_MAX_SPATIAL_DIMS] = {5, 1, 1};
    check(pconvResizeNetwork(network_.get(), 1, large));
    write({weight_, bias_});
    check(load());
    check(pconvResizeNetwork(network_.get(), 1, small));
    EXPECT_EQ(run(x_), (std::vector<float>{21.25F, 42.25F, 0, 3.5F, 7.5F, 0}));
    write({{"enc1.weight", "F32", {2, 2, 1}, {2, 4, -2, 1}}, {"enc1.bias", "F32", {2}, {0.5F, -1}}});
    check(pconvResizeNetwork(network_.get(), 1, large));
    check(load());
    check(pconvResizeNetwork(network_.get(), 1, small));
    EXPECT_EQ(run(x_), (std::vector<float>{42.5F, 84.5F, 0, 7, 15, 0}));
}

TEST_F(NetworkWeights, OfSixteenBits) {
    create();
    write({{"enc1.weight", "F16", {2, 2, 1}, weight_.values}, {"enc1.bias", "BF16", {2}, bias_.values}});
    check(load());
    EXPECT_EQ(run(x_), (std::vector<float>{21.25F, 42.25F, 0, 3.5F, 7.5F, 0}));
}

TEST_F(NetworkWeights, BatchNormalizationIsFolded) {
    layer_.batch_norm = "bn1";
    layer_.batch_norm_eps = 0;
    layer_.conv.activation = PCONV_ACTIVATION_RELU;
    create();
    write({weight_,
           {"bn1.weight", "F32", {2}, {2, -1}},
           {"bn1.bias", "F32", {2}, {0.5F, 3}},
           {"bn1.running_mean", "F32", {2}, {1, 2}},
           {"bn1.running_var", "F32", {2}, {4, 0.25F}}});
    check(load());  // without the convolution's own bias, as usual before a batch normalization
    // (21 - 1) * 2 / 2 + 0.5; max(0, (4 - 2) * -1 / 0.5 + 3)
    EXPECT_EQ(run(x_), (std::vector<float>{20.5F, 41.5F, 0, 0, 0, 0}));
    EXPECT_EQ(run({1, 2, 3, 4, 4, 4})[3], 5.0F);  // (1 - 2) * -2 + 3
}

TEST_F(NetworkWeights, AFaultLeavesTheWeightsAsTheyWere) {
    create();
    write({weight_, bias_});
    check(load());
    const auto before = run(x_);
    write({{"enc1.weight", "F32", {2, 2, 1}, {5, 5, 5, 5}}});
    EXPECT_INVALID(load(), "has no tensor 'enc1.bias' of shape [2]");
    write({{"enc1.weight", "F32", {2, 2}, {5, 5, 5, 5}}, bias_});
    EXPECT_INVALID(load(), "tensor 'enc1.weight' has shape [2, 2]; expected [2, 2, 1]");
    write({{"enc1.weight", "I16", {2, 2, 1}, {5, 5, 5, 5}}, bias_});
    EXPECT_INVALID(load(), "tensor 'enc1.weight' is I16; expected F32, F16 or BF16");
    std::ofstream(path_) << "no tensors";
    EXPECT_INVALID(load(), path_.filename().string());
    std::filesystem::remove(path_);
    EXPECT_INVALID(load(), path_.filename().string());
    EXPECT_INVALID(pconvLoadNetworkWeights(network_.get(), nullptr, nullptr), "path is null");
    EXPECT_EQ(run(x_), before);
}

TEST_F(NetworkWeights, LayersWithoutANameHaveNoPlaceInAFile) {
    layer_.name = nullptr;
    create();
    write({weight_, bias_});
    EXPECT_INVALID(load(), "layer 0 has no name to look for in a file");
}

}  // namespace
}  // namespace pconv::test
