#include "network/description.h"

#include "core/checked.h"

namespace pconv::network {

namespace {

constexpr int kMaxLayers = 65536;

}  // namespace

Description::Description(const PconvNetworkDesc* caller)
    : desc_(copyVersioned(caller, pconvDefaultNetworkDesc(2), "desc")) {
    if (desc_.layer_count < 1 || desc_.layer_count > kMaxLayers)
        invalid("layer_count is " + std::to_string(desc_.layer_count) + "; expected 1 to " +
                std::to_string(kMaxLayers));
    notNull(desc_.layers, "layers");
    for (int i = 0; i < desc_.layer_count; ++i) {
        // The caller's version of the struct tells how far apart they lie.
        const auto* at =
            reinterpret_cast<const char*>(desc_.layers) + static_cast<size_t>(i) * desc_.layers->struct_size;
        PconvLayer layer = copyVersioned(reinterpret_cast<const PconvLayer*>(at),
                                         pconvDefaultLayer(desc_.spatial_dims), "layers");
        layer.struct_size = sizeof layer;
        layer.name = keep(layer.name);
        layer.batch_norm = keep(layer.batch_norm);
        layer.conv.implementation = keep(layer.conv.implementation);
        if (layer.more_input_count < 0 || layer.more_input_count > kMaxLayers)
            invalid("layer " + std::to_string(i) + ": more_input_count is " +
                    std::to_string(layer.more_input_count) + "; expected 0 to " + std::to_string(kMaxLayers));
        if (layer.more_input_count > 0) {
            notNull(layer.more_inputs, "more_inputs");
            inputs_.emplace_back(layer.more_inputs, layer.more_inputs + layer.more_input_count);
            layer.more_inputs = inputs_.back().data();
        }
        layers_.push_back(layer);
    }
    desc_.struct_size = sizeof desc_;
    desc_.layers = nullptr;
    vectors_read_.resize(layers_.size());
}

const char* Description::keep(const char* text) {
    return text == nullptr ? nullptr : texts_.emplace_back(text).c_str();
}

void Description::readVectors(size_t layer, int64_t channels) const {
    if (vectors_read_[layer]) return;
    const auto known = vector_sizes_.find(layer);
    if (known != vector_sizes_.end() && known->second != static_cast<size_t>(channels))
        invalid("scale or shift has " + std::to_string(known->second) +
                " elements; expected one a channel, " + std::to_string(channels));
    vectors_read_[layer] = true;
    for (const float** vector : {&layers_[layer].scale, &layers_[layer].shift})
        if (*vector != nullptr) *vector = vectors_.emplace_back(*vector, *vector + channels).data();
}

void Description::expectVector(size_t layer, size_t size) const {
    const auto [known, first] = vector_sizes_.emplace(layer, size);
    if (!first && known->second != size)
        invalid("layer " + std::to_string(layer) + ": scale and shift differ in length");
}

void Description::setShape(int64_t batch, const int64_t* size) {
    if (desc_.mask_batch != 1) desc_.mask_batch = batch;
    desc_.batch = batch;
    for (int i = 0; i < desc_.spatial_dims && i < PCONV_MAX_SPATIAL_DIMS; ++i) desc_.size[i] = size[i];
}

}  // namespace pconv::network
