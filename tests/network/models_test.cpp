// Networks by name: their tensors, their sizes, and their descriptions read back.
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "files/safetensors.h"
#include "pconv/pconv.hpp"
#include "support/api.h"
#include "support/small_model.h"

namespace pconv::test {
namespace {

using Shapes = std::map<std::string, std::vector<int64_t>>;

struct Noted {
    bool has_optional;
    Shapes shapes;
};

PconvTensorAnswer note(void* user, const char* name, int32_t rank, const int64_t* shape, int32_t optional,
                       float* values) {
    EXPECT_EQ(values, nullptr);
    Noted& noted = *static_cast<Noted*>(user);
    if (optional != 0 && !noted.has_optional) return PCONV_TENSOR_MISSING;
    noted.shapes[name] = {shape, shape + rank};
    return PCONV_TENSOR_GIVEN;
}

// With the biases before batch normalizations, where they are asked for.
Shapes shapesOf(const Model& model, bool has_optional = false) {
    Noted noted{has_optional, {}};
    check(pconvReadModelTensors(model.get(), note, &noted));
    return noted.shapes;
}

// As PyTorch counts them: without running statistics.
int64_t parametersOf(const Model& model, bool has_optional) {
    int64_t sum = 0;
    for (const auto& [name, shape] : shapesOf(model, has_optional)) {
        if (name.find("running_") != std::string::npos) continue;
        int64_t count = 1;
        for (const int64_t size : shape) count *= size;
        sum += count;
    }
    return sum;
}

// torchvision's numbers for the networks that these are, but for their padding.
TEST(Models, ClassifiersHaveTheParametersOfTorchvisions) {
    const std::pair<const char*, int64_t> all[] = {
        {"pdresnet18", 11689512},  {"pdresnet34", 21797672},  {"pdresnet50", 25557032},
        {"pdresnet101", 44549160}, {"pdresnet152", 60192808}, {"pdvgg11", 132863336},
        {"pdvgg13", 133047848},    {"pdvgg16", 138357544},    {"pdvgg19", 143667240},
        {"pdvgg11_bn", 132868840}, {"pdvgg13_bn", 133053736}, {"pdvgg16_bn", 138365992},
        {"pdvgg19_bn", 143678248}};
    for (const auto& [name, count] : all) {
        const Model model(name);
        const bool is_vgg =
            std::string(name).find("vgg") != std::string::npos;  // whose convolutions all have a bias
        EXPECT_EQ(parametersOf(model, is_vgg), count) << name;
        int64_t shown = 0;
        for (int32_t i = 0; i < model.networkDesc().layer_count; ++i) shown += model.layer(i).parameters;
        EXPECT_EQ(shown, parametersOf(model, false)) << name;
    }
}

TEST(Models, TensorsHaveTheNamesOfTheirRepositories) {
    const Shapes unet = shapesOf(Model("pconv_unet"));
    EXPECT_EQ(unet.at("enc_1.conv.input_conv.weight"), (std::vector<int64_t>{64, 3, 7, 7}));
    EXPECT_EQ(unet.at("dec_7.conv.input_conv.weight"), (std::vector<int64_t>{512, 1024, 3, 3}));
    EXPECT_EQ(unet.at("dec_1.conv.input_conv.bias"), (std::vector<int64_t>{3}));
    EXPECT_EQ(unet.count("enc_1.conv.input_conv.bias"), 0U);
    EXPECT_EQ(unet.count("enc_2.bn.running_var"), 1U);
    const Shapes mmagic = shapesOf(Model("mmagic_pconv"));
    EXPECT_EQ(mmagic.at("encoder.enc1.conv.bias"), (std::vector<int64_t>{64}));
    EXPECT_EQ(mmagic.at("decoder.dec4.conv.weight"), (std::vector<int64_t>{256, 768, 3, 3}));
    EXPECT_EQ(mmagic.count("encoder.enc7.bn.weight"), 1U);
    const Shapes keras = shapesOf(Model("keras_pconv"));
    EXPECT_EQ(keras.at("dec8.conv.weight"), (std::vector<int64_t>{512, 1024, 3, 3}));
    EXPECT_EQ(keras.at("out.weight"), (std::vector<int64_t>{3, 3, 1, 1}));
}

// Written into a file and read from it, a description says the same; its tensors are not looked for by size
// alone.
TEST(Models, DescriptionsSurviveTheirFiles) {
    const auto path = std::filesystem::temp_directory_path() / "pconv_models_test.safetensors";
    for (int32_t i = 0; pconvGetModelName(i) != nullptr; ++i) {
        const std::string name = pconvGetModelName(i);
        if (name.find("vgg") != std::string::npos || name == "pdresnet101" || name == "pdresnet152")
            continue;  // large
        PconvModelOptions options = pconvDefaultModelOptions();
        const Model probe(name);
        (probe.info().classes != 0 ? options.classes : options.levels) = 4;
        const Model model(name, options);
        std::vector<std::vector<float>> zeros;
        std::vector<SafetensorsOutput> tensors;
        const Shapes shapes = shapesOf(model);
        for (const auto& [tensor, shape] : shapes) {
            size_t count = 1;
            for (const int64_t size : shape) count *= static_cast<size_t>(size);
            zeros.emplace_back(count);
            tensors.push_back({tensor, "F32", {shape.begin(), shape.end()}, zeros.back().data()});
        }
        {
            AtomicFile file(path);
            writeSafetensors(file, tensors, {{"pconv.network", model.json()}});
            file.commit();
        }
        const Model loaded = Model::load(path.string());
        EXPECT_EQ(loaded.json(), model.json());
        EXPECT_STREQ(loaded.info().name, name.c_str());
        EXPECT_EQ(loaded.info().size_multiple, model.info().size_multiple);
        const PconvNetworkDesc desc = loaded.networkDesc();
        EXPECT_EQ(desc.layer_count, model.networkDesc().layer_count);
        EXPECT_EQ(shapesOf(loaded), shapes);
    }
    std::filesystem::remove(path);
}

TEST(Models, LayersHavePaddingOfEveryKind) {
    const auto path = std::filesystem::temp_directory_path() / "pconv_models_padding_test.safetensors";
    std::string json = kSmallModel;
    const std::string padding = R"("padding":[2,2],)";
    json.replace(json.find(padding), padding.size(),
                 R"("padding":[2,1],"padding_end":[2,3],"padding_mode":"reflect",)");
    writeSmallModel(path, json);
    const Model loaded = Model::load(path.string());
    const PconvNetworkDesc desc = loaded.networkDesc();
    const PconvPartialConvDesc& first = desc.layers[0].conv;
    const PconvPartialConvDesc& last = desc.layers[desc.layer_count - 1].conv;
    EXPECT_EQ(first.padding_end[0], PCONV_PADDING_AS_IN_FRONT);
    EXPECT_EQ(first.padding_mode, PCONV_PADDING_MODE_ZEROS);
    EXPECT_EQ(last.padding_end[0], 2);
    EXPECT_EQ(last.padding_end[1], 3);
    EXPECT_EQ(last.padding_mode, PCONV_PADDING_MODE_REFLECT);
    writeSmallModel(path, loaded.json());
    EXPECT_EQ(Model::load(path.string()).json(), loaded.json());
    std::filesystem::remove(path);
}

TEST(Models, FaultsAreNamed) {
    PconvModel model = nullptr;
    EXPECT_INVALID(pconvCreateModel("unet", nullptr, &model),
                   "no network is called 'unet'; expected one of pconv_unet");
    EXPECT_INVALID(pconvCreateModel(nullptr, nullptr, &model), "name is null");
    PconvModelOptions options = pconvDefaultModelOptions();
    options.levels = 3;
    EXPECT_INVALID(pconvCreateModel("pconv_unet", &options, &model), "levels is 3; expected 4 to 12");
    EXPECT_INVALID(pconvCreateModel("pdresnet18", &options, &model), "pdresnet18 has no levels to choose");
    EXPECT_INVALID(pconvLoadModel("/nowhere/at/all", &model), "all");
    const Model good("pdresnet18");
    PconvLayerInfo info = pconvDefaultLayerInfo();
    EXPECT_INVALID(pconvGetModelLayerInfo(good.get(), nullptr, 99, &info), "layer is 99");
    check(pconvGetModelLayerInfo(good.get(), nullptr, 0, &info));
    EXPECT_EQ(info.channels, 64);
    EXPECT_EQ(info.size[0], 112);
    EXPECT_EQ(info.multiply_adds, 112LL * 112 * 64 * 3 * 49);
    EXPECT_EQ(info.mask_planes, 0);
}

}  // namespace
}  // namespace pconv::test
