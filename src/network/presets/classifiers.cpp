// NVIDIA's networks with partial-convolution padding: convolutions without a mask, whose borders count as
// holes.
#include "network/presets/model.h"

namespace pconv::network {

namespace {

constexpr int64_t kImageSize = 224;

void makeClassifier(Model& model) {
    model.mask_type = PCONV_MASK_TYPE_NONE;
    model.picture({0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F});
    model.info.fixed_size = kImageSize;
    model.info.size_multiple = 1;
}

int32_t classesOf(Model& model, int32_t count) {
    constexpr int32_t kImageNet = 1000;
    model.info.classes = count != 0 ? count : kImageNet;
    return model.info.classes;
}

// A partial convolution, its batch normalization and ReLU.
PconvLayer normalized(Model& model, const std::string& conv, const std::string& norm, int64_t channels,
                      int64_t kernel, int64_t stride, int32_t input = PCONV_LAYER_PREVIOUS) {
    PconvLayer layer =
        model.conv(PCONV_LAYER_TYPE_PARTIAL_CONV, conv, channels, kernel, stride, kernel / 2, input);
    layer.batch_norm = model.keep(norm);
    layer.conv.activation = PCONV_ACTIVATION_RELU;
    return layer;
}

struct Resnet {
    const char* name;
    int32_t blocks[4];
    bool bottleneck;  // 1x1, 3x3 and 1x1 to four times the channels, in place of two 3x3
};
constexpr Resnet kResnets[] = {
    {"pdresnet18", {2, 2, 2, 2}, false},  {"pdresnet34", {3, 4, 6, 3}, false},
    {"pdresnet50", {3, 4, 6, 3}, true},   {"pdresnet101", {3, 4, 23, 3}, true},
    {"pdresnet152", {3, 8, 36, 3}, true},
};

// Of stage 1 to 4, whose first block changes channels and, from stage 2 on, halves the size.
int32_t addBlock(Model& model, const Resnet& net, int32_t stage, int32_t block, int32_t input) {
    const std::string name = "layer" + std::to_string(stage) + "." + std::to_string(block);
    const int64_t width = int64_t{64} << (stage - 1);
    const int64_t channels = net.bottleneck ? 4 * width : width;
    const int64_t stride = stage > 1 && block == 0 ? 2 : 1;
    const auto part = [&](const char* number, int64_t to, int64_t kernel, int64_t by, int32_t from) {
        return normalized(model, name + ".conv" + number, name + ".bn" + number, to, kernel, by, from);
    };
    PconvLayer last;
    if (net.bottleneck) {
        model.add(part("1", width, 1, 1, input));
        model.add(part("2", width, 3, stride, PCONV_LAYER_PREVIOUS));
        last = part("3", channels, 1, 1, PCONV_LAYER_PREVIOUS);
    } else {
        model.add(part("1", width, 3, stride, input));
        last = part("2", channels, 3, 1, PCONV_LAYER_PREVIOUS);
    }
    last.conv.activation = PCONV_ACTIVATION_NONE;
    const int32_t residual = model.add(last);
    if (block > 0 || (stage == 1 && !net.bottleneck))
        return model.sum(residual, input, PCONV_ACTIVATION_RELU);
    PconvLayer shortcut =
        normalized(model, name + ".downsample.0", name + ".downsample.1", channels, 1, stride, input);
    shortcut.conv.activation = PCONV_ACTIVATION_NONE;
    return model.sum(residual, model.add(shortcut), PCONV_ACTIVATION_RELU);
}

struct Vgg {
    const char* name;
    int32_t convs[5];  // of 64, 128, 256, 512 and 512 channels, max pooling behind each group
};
constexpr Vgg kVggs[] = {{"pdvgg11", {1, 1, 2, 2, 2}},
                         {"pdvgg13", {2, 2, 2, 2, 2}},
                         {"pdvgg16", {2, 2, 3, 3, 3}},
                         {"pdvgg19", {2, 2, 4, 4, 4}}};

}  // namespace

void makeResnet(Model& model, int32_t count) {
    makeClassifier(model);
    for (const Resnet& net : kResnets) {
        if (model.name != net.name) continue;
        model.add(normalized(model, "conv1", "bn1", 64, 7, 2));
        int32_t last = model.pool(PCONV_LAYER_TYPE_MAX_POOL, 3, 2, 1);
        for (int32_t stage = 1; stage <= 4; ++stage)
            for (int32_t block = 0; block < net.blocks[stage - 1]; ++block)
                last = addBlock(model, net, stage, block, last);
        model.pool(PCONV_LAYER_TYPE_AVERAGE_POOL, 7, 1, 0);
        model.linear("fc", classesOf(model, count), PCONV_ACTIVATION_NONE);
    }
}

// Modules are numbered as in PyTorch: a convolution, its batch normalization if any, ReLU; pooling.
void makeVgg(Model& model, int32_t count) {
    makeClassifier(model);
    const bool norm = model.name.size() > 3 && model.name.compare(model.name.size() - 3, 3, "_bn") == 0;
    const std::string plain = norm ? model.name.substr(0, model.name.size() - 3) : model.name;
    for (const Vgg& net : kVggs) {
        if (plain != net.name) continue;
        int32_t number = 0;
        for (int32_t group = 0; group < 5; ++group) {
            const int64_t channels = group < 3 ? int64_t{64} << group : 512;
            for (int32_t i = 0; i < net.convs[group]; ++i) {
                const auto name = [&](int32_t module) { return "features." + std::to_string(module); };
                PconvLayer layer = normalized(model, name(number), name(number + 1), channels, 3, 1);
                if (!norm) layer.batch_norm = nullptr;
                model.add(layer);
                number += norm ? 3 : 2;
            }
            model.pool(PCONV_LAYER_TYPE_MAX_POOL, 2, 2, 0);
            ++number;
        }
        model.linear("classifier.0", 4096, PCONV_ACTIVATION_RELU);
        model.linear("classifier.3", 4096, PCONV_ACTIVATION_RELU);
        model.linear("classifier.6", classesOf(model, count), PCONV_ACTIVATION_NONE);
    }
}

}  // namespace pconv::network
