// Networks: what is refused, and in what words; what is planned.
#include "pconv/network.h"

#include <vector>

#include "network/network_case.h"
#include "support/api.h"

namespace pconv::test {
namespace {

class Networks : public ::testing::Test {
  protected:
    Networks() {
        desc_ = pconvDefaultNetworkDesc(2);
        desc_.batch = 2;
        desc_.channels = 4;
        desc_.size[0] = 6;
        desc_.size[1] = 8;
        for (int i = 0; i < 3; ++i) {
            PconvLayer layer = pconvDefaultLayer(2);
            layer.conv.out_channels = 4;
            for (int d = 0; d < 2; ++d) {
                layer.conv.kernel[d] = 3;
                layer.conv.padding[d] = 1;
            }
            layers_.push_back(layer);
        }
        layers_[1].name = "middle";
    }
    PconvStatus create() {
        desc_.layers = layers_.data();
        desc_.layer_count = static_cast<int32_t>(layers_.size());
        return pconvCreateNetwork(device_.get(), &desc_, network_.out());
    }
    void expectRefused(const std::string& part) {
        EXPECT_INVALID(create(), part);
        EXPECT_EQ(network_.get(), nullptr);
    }
    OwnedDevice device_ = openDevice("cpu");
    OwnedNetwork network_;
    PconvNetworkDesc desc_{};
    std::vector<PconvLayer> layers_;
};

TEST_F(Networks, FaultsOfTheDescriptionAreNamed) {
    struct Fault {
        void (*change)(PconvNetworkDesc&);
        const char* part;
    };
    const Fault faults[] = {
        {[](auto& d) { d.spatial_dims = 4; }, "spatial_dims is 4; expected 1 to 3"},
        {[](auto& d) { d.batch = 0; }, "batch is 0"},
        {[](auto& d) { d.channels = -1; }, "channels is -1"},
        {[](auto& d) { d.size[1] = 0; }, "size[1] is 0"},
        {[](auto& d) { d.data_type = PCONV_DATA_TYPE_U8; }, "data_type is 3; expected 0 to 2"},
        {[](auto& d) { setEnum(d.layout, 2); }, "layout is 2; expected 0 to 1"},
        {[](auto& d) { setEnum(d.mask_type, 7); }, "mask_type is 7"},
        {[](auto& d) { setEnum(d.polarity, 2); }, "polarity is 2"},
        {[](auto& d) { d.mask_batch = 3; }, "mask_batch is 3; expected 1 or 2"},
        {[](auto& d) { d.mask_planes = 2; }, "mask_planes is 2; expected 1 or 4"},
        {[](auto& d) { d.struct_size = 0; }, "desc->struct_size is 0"},
    };
    for (const Fault& fault : faults) {
        const PconvNetworkDesc good = desc_;
        fault.change(desc_);
        expectRefused(fault.part);
        desc_ = good;
    }
    desc_.layer_count = 0;
    EXPECT_INVALID(pconvCreateNetwork(device_.get(), &desc_, network_.out()), "layer_count is 0");
    desc_.layer_count = 1;
    desc_.layers = nullptr;
    EXPECT_INVALID(pconvCreateNetwork(device_.get(), &desc_, network_.out()), "layers is null");
    EXPECT_INVALID(pconvCreateNetwork(nullptr, &desc_, network_.out()), "device is null");
    EXPECT_INVALID(pconvCreateNetwork(device_.get(), nullptr, network_.out()), "desc is null");
}

TEST_F(Networks, FaultsOfALayerNameIt) {
    struct Fault {
        void (*change)(PconvLayer&);
        const char* part;
    };
    const Fault faults[] = {
        {[](auto& l) { setEnum(l.type, 13); }, "layer 1 (middle): type is 13; expected 0 to 12"},
        {[](auto& l) { l.input = 1; }, "layer 1 (middle): input is 1; expected an earlier layer"},
        {[](auto& l) { l.input = -3; }, "layer 1 (middle): input is -3"},
        {[](auto& l) { l.conv.kernel[0] = 0; }, "layer 1 (middle): kernel[0] is 0"},
        {[](auto& l) { l.conv.kernel[1] = 30; }, "layer 1 (middle): kernel[1] with its dilation spans 30"},
        {[](auto& l) { l.conv.groups = 3; }, "layer 1 (middle): groups is 3"},
        {[](auto& l) { l.conv.implementation = "cpu:nothing"; },
         "layer 1 (middle): no implementation 'cpu:nothing'"},
        {[](auto& l) { l.struct_size = 9000; }, "struct_size is 9000"},
        {[](auto& l) { setEnum(l.conv.padding_mode, 4); }, "layer 1 (middle): padding_mode is 4"},
        {[](auto& l) {
             l.conv.padding_mode = PCONV_PADDING_MODE_REFLECT;
             l.conv.padding_end[0] = 6;
         },
         "layer 1 (middle): padding_end[0] is 6; expected less than the input's 6 to reflect"},
        {[](auto& l) {
             l.type = PCONV_LAYER_TYPE_TRANSPOSED_CONV;
             l.conv.padding_mode = PCONV_PADDING_MODE_CIRCULAR;
         },
         "layer 1 (middle): padding_mode is set; expected PCONV_PADDING_MODE_ZEROS for this type of layer"},
        {[](auto& l) {
             l.type = PCONV_LAYER_TYPE_MAX_POOL;
             l.conv.padding_end[1] = 2;
         },
         "layer 1 (middle): padding_end[1] is 2; expected as much as in front, 1, for this type of layer"},
        {[](auto& l) {
             l.type = PCONV_LAYER_TYPE_LINEAR;
             l.conv.padding_mode = PCONV_PADDING_MODE_REPLICATE;
         },
         "layer 1 (middle): padding_mode is set"},
        {[](auto& l) {
             l.type = PCONV_LAYER_TYPE_UPSAMPLE;
             l.factor[1] = 0;
         },
         "layer 1 (middle): factor[1] is 0"},
        {[](auto& l) {
             l.batch_norm = "bn";
             l.conv.has_bias = 0;
         },
         "layer 1 (middle): has_bias is 0; expected 1 with a batch normalization"},
        {[](auto& l) {
             l.batch_norm = "bn";
             l.batch_norm_eps = -1;
         },
         "layer 1 (middle): batch_norm_eps is not"},
    };
    for (const Fault& fault : faults) {
        const PconvLayer good = layers_[1];
        fault.change(layers_[1]);
        const PconvStatus status = create();
        EXPECT_NE(status, PCONV_SUCCESS);
        EXPECT_FAULT(status, status, fault.part);
        EXPECT_EQ(network_.get(), nullptr);
        layers_[1] = good;
    }
}

TEST_F(Networks, UnusedLayersAreAnError) {
    layers_[2].input = 0;
    expectRefused("layer 1 (middle) is used by no later layer");
}

TEST_F(Networks, JoinedSizesMustBeEqual) {
    layers_[1].conv.stride[0] = 2;
    layers_[2].type = PCONV_LAYER_TYPE_CONCAT;
    layers_[2].second_input = 0;
    expectRefused("layer 2: its inputs differ in size");
}

TEST_F(Networks, JoinedMasksNeedMultiChannelMode) {
    layers_[1].type = PCONV_LAYER_TYPE_CONCAT;
    layers_[1].second_input = PCONV_NETWORK_INPUT;
    expectRefused("layer 2: mask_mode is single-channel");
    layers_[2].conv.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    check(create());
}

TEST_F(Networks, PassesNeedWeightsAndAMask) {
    check(create());
    const OwnedBuffer memory = makeBuffer(device_.get(), std::vector<float>(2 * 2 * 4 * 48, 1.0F));
    const OwnedBuffer ones = makeBuffer(device_.get(), std::vector<uint8_t>(48, 1));
    const PconvTensor input = makeTensor(memory.get(), PCONV_DATA_TYPE_F32, {2, 4, 6, 8});
    const PconvTensor output = makeTensor(memory.get(), PCONV_DATA_TYPE_F32, {2, 4, 6, 8}, 4 * 2 * 4 * 48);
    const PconvTensor mask = makeTensor(ones.get(), PCONV_DATA_TYPE_U8, {1, 1, 6, 8});
    PconvNetwork network = network_.get();
    EXPECT_INVALID(pconvForwardNetwork(network, &input, &mask, &output),
                   "layer 0: the weights have not been set");
    const PconvTensor weight = makeTensor(memory.get(), PCONV_DATA_TYPE_F32, {4, 4, 3, 3});
    const PconvTensor bias = makeTensor(memory.get(), PCONV_DATA_TYPE_F32, {4});
    EXPECT_INVALID(pconvSetNetworkWeights(network, 3, &weight, &bias), "layer is 3");
    EXPECT_INVALID(pconvSetNetworkWeights(network, 0, &weight, nullptr), "bias is null");
    EXPECT_INVALID(pconvSetNetworkWeights(network, 0, &bias, &bias), "weight has 1 dimensions; expected 4");
    for (int32_t i = 0; i < 3; ++i) check(pconvSetNetworkWeights(network, i, &weight, &bias));
    EXPECT_INVALID(pconvForwardNetwork(network, &input, nullptr, &output),
                   "mask is null; expected one in the first");
    EXPECT_INVALID(pconvForwardNetwork(network, &input, &mask, &input), "input and output overlap");
    EXPECT_INVALID(pconvForwardNetwork(network, &mask, &mask, &output), "input is U8; expected F32");
    EXPECT_INVALID(pconvForwardNetwork(network, &input, &input, &output), "mask is F32; expected U8");
    EXPECT_INVALID(pconvForwardNetwork(nullptr, &input, &mask, &output), "network is null");
    check(pconvForwardNetwork(network, &input, &mask, &output));
    check(pconvForwardNetwork(network, &input, nullptr, &output));
    EXPECT_INVALID(pconvGetNetworkImplementation(network, 3, nullptr), "name is null");
    const char* name = nullptr;
    EXPECT_INVALID(pconvGetNetworkImplementation(network, -1, &name), "layer is -1");
    check(pconvGetNetworkImplementation(network, 2, &name));
    EXPECT_EQ(std::string(name).rfind("cpu:", 0), 0U);
    // Objects may go in any order.
    device_.reset();
    check(pconvForwardNetwork(network, &input, &mask, &output));
}

// A chain of equal layers lives in the memory of two of their outputs, however long it is.
TEST_F(Networks, TheArenaIsSharedByWhatDoesNotLiveTogether) {
    int64_t allocated = 0;
    PconvDeviceOptions options = pconvDefaultDeviceOptions();
    options.user = &allocated;
    options.allocation_callback = [](void* user, int64_t bytes) { *static_cast<int64_t*>(user) += bytes; };
    const OwnedDevice counted = openDevice("cpu", &options);
    const auto bytesOf = [&](int length) {
        const PconvLayer layer = layers_[0];
        layers_.assign(static_cast<size_t>(length), layer);
        for (PconvLayer& each : layers_) each.conv.implementation = "cpu:reference";
        desc_.layers = layers_.data();
        desc_.layer_count = length;
        desc_.size[0] = desc_.size[1] = 64;
        const int64_t before = allocated;
        OwnedNetwork network;
        check(pconvCreateNetwork(counted.get(), &desc_, network.out()));
        return allocated - before;
    };
    const int64_t feature = 2 * 4 * 64 * 64 * 4;
    const int64_t plane = 64 * 64;
    const int64_t per_layer = bytesOf(5) - bytesOf(4);  // its mask side and weights
    EXPECT_LE(per_layer, 10 * plane);
    EXPECT_LE(bytesOf(40), 2 * feature + 40 * per_layer);
    EXPECT_GE(bytesOf(40), 2 * feature);
}

}  // namespace
}  // namespace pconv::test
