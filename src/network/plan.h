// What a network's description comes to: each layer's shapes and masks, and where its output lies.
#pragma once

#include <string>
#include <vector>

#include "backend.h"
#include "pconv/network.h"

namespace pconv::network {

// Where the planes of a mask come from; `inverted` is the network's own mask where that is 1 in the holes.
struct MaskSource {
    enum class Kind { network, inverted, update, upsampled, ones } kind = Kind::network;
    size_t index = 0;  // the layer of an update; the position in Plan::upsampled; of no meaning else
};

struct MaskPart {
    MaskSource source;
    int64_t planes = 1;
    int64_t multiplicity = 1;
};

// A mask as it travels: no parts where all is valid.
struct TravelingMask {
    MaskType type = MaskType::none;
    int64_t batch = 1;
    std::vector<MaskPart> parts;
};

// An array with one of Plan::stores behind it.
struct Value {
    int64_t channels = 1;
    Dims3 size{1, 1, 1};
    size_t store = 0;
    int64_t first_channel = 0;
    TravelingMask mask;
    bool zero_in_holes = false;
};

// Memory of a whole array [N, channels, size]: the caller's, or a place in the arena.
struct Store {
    enum class Kind { input, output, arena } kind = Kind::arena;
    int64_t channels = 1;
    Dims3 size{1, 1, 1};
    Layout layout = Layout::contiguous;
    size_t first_use = 0, last_use = 0;  // layers
    size_t offset = 0;                   // bytes
};

struct Layer {
    PconvLayerType type = PCONV_LAYER_TYPE_PARTIAL_CONV;
    std::string name, batch_norm;
    double batch_norm_eps = 0;
    size_t input = 0, second_input = 0;            // values
    size_t output = 0;                             // a value
    bool copy_first = false, copy_second = false;  // a concatenation's inputs that lie elsewhere
    Dims3 factor{1, 1, 1};
    PconvPartialConvDesc conv{};  // complete
    TravelingMask conv_mask;      // what the convolution is masked by
    std::string implementation;
};

// Planes repeated by an upsampling layer, kept for as long as the network.
struct UpsampledPlanes {
    MaskSource source;
    int64_t planes = 1;
    Dims3 size{1, 1, 1};  // of the source
    Dims3 factor{1, 1, 1};
    DataType data_type = DataType::u8;
    int64_t batch = 1;
    size_t layer = 0;
    size_t offset = 0;  // bytes in the mask arena
};

struct OnesPlane {
    Dims3 size{1, 1, 1};
    DataType data_type = DataType::u8;
    int64_t batch = 1;
    size_t offset = 0;
};

struct Plan {
    int spatial_dims = 2;
    int64_t batch = 1;
    DataType data_type = DataType::f32;
    Layout layout = Layout::contiguous;
    MaskType mask_type = MaskType::binary;
    int64_t mask_batch = 1, mask_planes = 1;
    bool hole_is_one = false;
    Dims3 input_size{1, 1, 1};
    std::vector<Value> values;  // 0 is the network's input; the last is its output
    std::vector<Store> stores;
    std::vector<Layer> layers;
    std::vector<UpsampledPlanes> upsampled;
    std::vector<OnesPlane> ones;
    size_t arena_bytes = 0, mask_bytes = 0;
};

// Throws Error invalid_argument on the first fault, naming the layer. `inner` is the layout between layers.
Plan makePlan(const PconvNetworkDesc* desc, Layout inner);

// "layer 3 (dec2)"
std::string layerName(const Layer& layer, size_t index);

}  // namespace pconv::network
