// The U-Nets of image inpainting. All have the shape of Liu et al. 2018, table 4:
//
//     level    1   2    3    4    5 ...     encoder I: kernel, stride 2, ReLU; from level 2 on batch
//     normalization kernel   7   5    5    3    3         decoder I: upsampled by 2, joined with encoder I -
//     1 (1: the input), kernel 3, channels 64  128  256  512  512       channels of level I - 1 (1: 3),
//     LeakyReLU 0.2; down to level 2 normalized
//
// and differ in names, biases, what normalizes a window, and what follows.
#include "error.h"
#include "network/presets/model.h"

namespace pconv::network {

namespace {

struct Style {
    const char* encoder;  // what stands before a level's number in names
    const char* decoder;
    const char* conv;  // and after it
    const char* norm;
    bool first_has_bias;  // that of encoder 1
    bool last_is_active;  // decoder 1 has an activation
    bool encoder_first;   // what is joined: the encoder's, then the upsampled
    PconvNormalization normalization;
    double norm_eps;
};

//                             encoder        decoder        conv                norm   first bias, last
//                             active, encoder first
constexpr Style kPconvUnet{"enc_", "dec_", ".conv.input_conv",           ".bn", false,
                           false,  false,  PCONV_NORMALIZATION_MASK_SUM, 1e-5};
constexpr Style kPaper{"enc", "dec", "", "_bn", true, false, false, PCONV_NORMALIZATION_WINDOW_RATIO, 1e-5};
constexpr Style kMmagic{
    "encoder.enc", "decoder.dec", ".conv", ".bn", true, false, false, PCONV_NORMALIZATION_WINDOW_RATIO, 1e-5};
constexpr Style kKeras{"enc", "dec", ".conv", ".bn", true, true, true, PCONV_NORMALIZATION_MASK_SUM, 1e-3};

int64_t channelsOf(int32_t level) {
    constexpr int64_t kChannels[] = {3, 64, 128, 256, 512};
    return kChannels[level < 4 ? level : 4];
}

void makeUnet(Model& model, int32_t levels, const Style& style) {
    constexpr int32_t kLeast = 4;
    constexpr int32_t kMost = 12;
    if (levels < kLeast || levels > kMost)
        fail(PCONV_ERROR_INVALID_ARGUMENT, "levels is " + std::to_string(levels) + "; expected 4 to 12");
    const auto convAt = [&](const char* side, int32_t level, int64_t channels, int64_t kernel, int64_t stride,
                            int32_t input) {
        const std::string name = side + std::to_string(level);
        PconvLayer layer = model.conv(PCONV_LAYER_TYPE_PARTIAL_CONV, name + style.conv, channels, kernel,
                                      stride, kernel / 2, input);
        layer.conv.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
        layer.conv.normalization = style.normalization;
        if (level > 1) layer.batch_norm = model.keep(name + style.norm);
        layer.batch_norm_eps = style.norm_eps;
        return layer;
    };
    std::vector<int32_t> encoders{PCONV_NETWORK_INPUT};
    for (int32_t i = 1; i <= levels; ++i) {
        PconvLayer layer = convAt(style.encoder, i, channelsOf(i),
                                  i == 1   ? 7
                                  : i <= 3 ? 5
                                           : 3,
                                  2, encoders.back());
        layer.conv.activation = PCONV_ACTIVATION_RELU;
        if (i == 1) layer.conv.has_bias = style.first_has_bias ? 1 : 0;
        encoders.push_back(model.add(layer));
    }
    for (int32_t i = levels; i >= 1; --i) {
        const int32_t upsampled = model.upsample();
        const int32_t skipped = encoders[static_cast<size_t>(i - 1)];
        if (style.encoder_first)
            model.join(skipped, upsampled);
        else
            model.join(upsampled, skipped);
        PconvLayer layer = convAt(style.decoder, i, channelsOf(i - 1), 3, 1, PCONV_LAYER_PREVIOUS);
        if (i > 1 || style.last_is_active) layer.conv.activation = PCONV_ACTIVATION_LEAKY_RELU;
        layer.conv.negative_slope = 0.2F;
        model.add(layer);
    }
    model.info.mask_planes = 3;
    model.info.size_multiple = int64_t{1} << levels;
}

}  // namespace

void makePconvUnet(Model& model, int32_t count) {
    makeUnet(model, count != 0 ? count : 7, kPconvUnet);
    model.picture({0.485F, 0.456F, 0.406F}, {0.229F, 0.224F, 0.225F});
}

void makePaperUnet(Model& model, int32_t count) {
    makeUnet(model, count != 0 ? count : 8, kPaper);
    model.picture({0, 0, 0}, {1, 1, 1});
}

void makeMmagicUnet(Model& model, int32_t count) {
    makeUnet(model, count != 0 ? count : 7, kMmagic);
    model.picture({0.5F, 0.5F, 0.5F}, {0.5F, 0.5F, 0.5F});
}

void makeKerasUnet(Model& model, int32_t count) {
    makeUnet(model, count != 0 ? count : 8, kKeras);
    model.add(model.conv(PCONV_LAYER_TYPE_CONV, "out", 3, 1, 1, 0));
    PconvLayer sigmoid = pconvDefaultLayer(2);
    sigmoid.type = PCONV_LAYER_TYPE_SIGMOID;
    model.add(sigmoid);
    model.picture({0, 0, 0}, {1, 1, 1});
}

}  // namespace pconv::network
