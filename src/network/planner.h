// How layers are planned one after another; what their kinds share.
#pragma once

#include "network/fusion.h"

namespace pconv::network {

void checkRange(const std::string& name, int64_t value, int64_t least, int64_t most);

// Of layers that have no other padding; throws Error where the caller asks for it.
void expectEvenZeros(const PconvPartialConvDesc& conv, int spatial_dims);

// The caller's entries in D, H, W.
Dims3 expand(const int64_t* values, int spatial_dims, const char* name, int64_t least, int64_t fill = 1);

class Planner {
  public:
    Planner(const Description& description, Layout inner, Fusions fusions = {})
        : description_(description), desc_(description.desc()), inner_(inner), fusions_(std::move(fusions)) {}
    Plan make();

    const PconvNetworkDesc& desc() const { return desc_; }
    const Plan& plan() const { return plan_; }
    const Value& inputOf(const Layer& layer, size_t i = 0) const { return plan_.values[layer.inputs[i]]; }
    const PconvLayer& callersLayer(size_t index) const { return description_.layers()[index]; }
    void readVectors(size_t layer, int64_t channels) const { description_.readVectors(layer, channels); }

    // Takes the layer's second input, and those after it.
    void addSecondInput(Layer& layer, const PconvLayer& caller, size_t index);
    void addMoreInputs(Layer& layer, const PconvLayer& caller, size_t index);

    // The descriptor that a layer's convolution has in this network; its window is the caller's.
    PconvPartialConvDesc describeConv(const PconvLayer& caller, int64_t channels, const Dims3& size) const;
    // Completes layer.conv with its mask, and says what comes out of it.
    Value convolve(Layer& layer, const PconvPartialConvDesc& conv, const TravelingMask& mask,
                   bool zero_in_holes, size_t index);
    // A pass over an input of `channels`; the activation is the caller's.
    PassDesc describePass(PassKind kind, int64_t channels, const Dims3& size, const PconvLayer& caller) const;

    // With 1 where valid, and not the caller's planes, which only the mask side sees.
    TravelingMask copied(const TravelingMask& mask, const Dims3& size, size_t index);
    // Masks as layers leave them.
    TravelingMask resampled(const TravelingMask& mask, const Dims3& source, const Dims3& begin,
                            const Dims3& size, const Dims3& factor, size_t index);
    TravelingMask windowed(const TravelingMask& mask, const Window& window, size_t index);
    TravelingMask joined(const std::vector<const Value*>& values);
    TravelingMask eitherOf(const std::vector<const Value*>& values, size_t index);

  private:
    void parseNetwork();
    size_t valueOf(int32_t source, size_t layer, const char* name);
    void addLayer(const PconvLayer& caller, size_t index);
    bool movedInto(size_t value, size_t target, int64_t first_channel);
    MaskPart ordinary(MaskPart part);
    PconvPartialConvDesc planesDesc(int64_t channels, const Dims3& size, MaskType type) const;
    bool isFused(size_t index) const;
    void finish();
    PconvLayout layoutOf(size_t value) const;
    size_t placeMask(int64_t batch, int64_t planes, const Dims3& size, DataType type);
    void placeStores();
    size_t bytes(size_t store) const;

    const Description& description_;
    const PconvNetworkDesc& desc_;
    Layout inner_;
    Fusions fusions_;
    Plan plan_;
    std::vector<bool> used_;  // by value
};

}  // namespace pconv::network
