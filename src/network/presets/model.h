// A model: layers with the texts and numbers they point to, and what goes in and comes out.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "pconv/models.h"

namespace pconv::network {

class Model {
  public:
    Model() = default;
    Model(const Model&) = delete;
    Model& operator=(const Model&) = delete;

    std::string name;
    PconvModelInfo info = pconvDefaultModelInfo();  // its name is set by whoever gives it away
    PconvMaskType mask_type = PCONV_MASK_TYPE_BINARY;
    std::vector<PconvLayer> layers;
    std::string json;
    std::vector<std::pair<size_t, size_t>>
        vector_sizes;  // of layers read from a file: how long scale and shift are

    const char* keep(const std::string& text) { return texts_.emplace_back(text).c_str(); }
    const float* keep(const std::vector<float>& values) { return floats_.emplace_back(values).data(); }
    const int32_t* keep(const std::vector<int32_t>& values) { return integers_.emplace_back(values).data(); }

    // Layers as tables of networks name them; each returns the index of what it added. An input of -2 is the
    // layer before.
    PconvLayer conv(PconvLayerType type, const std::string& layer_name, int64_t channels, int64_t kernel,
                    int64_t stride, int64_t padding, int32_t input = PCONV_LAYER_PREVIOUS);
    int32_t add(const PconvLayer& layer);
    int32_t upsample();
    int32_t join(int32_t first, int32_t second);
    int32_t pool(PconvLayerType type, int64_t kernel, int64_t stride, int64_t padding);
    int32_t sum(int32_t first, int32_t second, PconvActivation activation);
    int32_t linear(const std::string& layer_name, int64_t channels, PconvActivation activation);

    // Pictures in 0 to 1 whose channels have this mean and deviation, in and out.
    void picture(const std::vector<float>& mean, const std::vector<float>& deviation);

  private:
    std::deque<std::string> texts_;
    std::deque<std::vector<float>> floats_;
    std::deque<std::vector<int32_t>> integers_;
};

// The tables; `count` is a U-Net's levels or a classifier's classes, 0 for what is published.
void makePconvUnet(Model& model, int32_t count);
void makePaperUnet(Model& model, int32_t count);
void makeMmagicUnet(Model& model, int32_t count);
void makeKerasUnet(Model& model, int32_t count);
void makeResnet(Model& model, int32_t count);  // of the depth in its name
void makeVgg(Model& model, int32_t count);

struct Preset {
    const char* name;
    void (*make)(Model& model, int32_t count);
    bool classifies;
};
const std::vector<Preset>& presets();

}  // namespace pconv::network

struct PconvModel_T {
    pconv::network::Model model;
};
