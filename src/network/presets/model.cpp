#include "network/presets/model.h"

#include <algorithm>

namespace pconv::network {

PconvLayer Model::conv(PconvLayerType type, const std::string& layer_name, int64_t channels, int64_t kernel,
                       int64_t stride, int64_t padding, int32_t input) {
    PconvLayer layer = pconvDefaultLayer(2);
    layer.type = type;
    layer.name = keep(layer_name);
    layer.input = input;
    layer.conv.out_channels = channels;
    for (int d = 0; d < 2; ++d) {
        layer.conv.kernel[d] = kernel;
        layer.conv.stride[d] = stride;
        layer.conv.padding[d] = padding;
    }
    return layer;
}

int32_t Model::add(const PconvLayer& layer) {
    layers.push_back(layer);
    return static_cast<int32_t>(layers.size()) - 1;
}

int32_t Model::upsample() {
    PconvLayer layer = pconvDefaultLayer(2);
    layer.type = PCONV_LAYER_TYPE_UPSAMPLE;
    return add(layer);
}

int32_t Model::join(int32_t first, int32_t second) {
    PconvLayer layer = pconvDefaultLayer(2);
    layer.type = PCONV_LAYER_TYPE_CONCAT;
    layer.input = first;
    layer.second_input = second;
    return add(layer);
}

int32_t Model::pool(PconvLayerType type, int64_t kernel, int64_t stride, int64_t padding) {
    PconvLayer layer = conv(type, "", 1, kernel, stride, padding);
    layer.name = nullptr;
    return add(layer);
}

int32_t Model::sum(int32_t first, int32_t second, PconvActivation activation) {
    PconvLayer layer = pconvDefaultLayer(2);
    layer.type = PCONV_LAYER_TYPE_ADD;
    layer.input = first;
    layer.second_input = second;
    layer.conv.activation = activation;
    return add(layer);
}

int32_t Model::linear(const std::string& layer_name, int64_t channels, PconvActivation activation) {
    PconvLayer layer = conv(PCONV_LAYER_TYPE_LINEAR, layer_name, channels, 1, 1, 0);
    layer.conv.activation = activation;
    return add(layer);
}

void Model::picture(const std::vector<float>& mean, const std::vector<float>& deviation) {
    info.channels = static_cast<int32_t>(mean.size());
    info.input_range = 1;
    std::copy(mean.begin(), mean.end(), info.mean);
    std::copy(deviation.begin(), deviation.end(), info.deviation);
    std::copy(deviation.begin(), deviation.end(), info.output_scale);
    std::copy(mean.begin(), mean.end(), info.output_shift);
}

}  // namespace pconv::network
