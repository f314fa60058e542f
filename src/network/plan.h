// What a network's description comes to: each layer's shapes and masks, and where its output lies.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "backend.h"
#include "network/description.h"

namespace pconv::network {

// Where the planes of a mask come from.
struct MaskSource {
    enum class Kind { network, update, upsampled, windowed, ones } kind = Kind::network;
    size_t index = 0;  // the layer of an update; the position in the plan's list of the others
    bool operator==(const MaskSource& other) const { return kind == other.kind && index == other.index; }
};

struct MaskPart {
    MaskSource source;
    int64_t planes = 1;
    int64_t multiplicity = 1;
    bool operator==(const MaskPart& other) const {
        return source == other.source && planes == other.planes && multiplicity == other.multiplicity;
    }
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
    std::vector<size_t> inputs;  // values
    size_t output = 0;           // a value
    std::vector<bool> copied;    // a concatenation's inputs that lie elsewhere
    Dims3 factor{1, 1, 1};
    Dims3 begin{0, 0, 0};
    PconvPartialConvDesc conv{};  // complete, of layers that are a convolution
    TravelingMask conv_mask;      // what the convolution is masked by
    std::string implementation;
    UpsampledChannels upsampled;      // of a convolution that was fused with what made them
    bool fused = false;               // into a later convolution: nothing is left to do but its masks
    PassDesc pass;                    // of layers that are one, or have one behind their convolution
    std::vector<float> scale, shift;  // as described; empty: none
    bool constant = false;            // scale and shift are all there is to know
    bool has_bias = false;            // of a transposed convolution
    bool interpolates = false;        // an upsampling's
};

// Planes of elements repeated or cut out, kept for as long as the plan.
struct UpsampledPlanes {
    MaskSource source;
    Dims3 source_size{1, 1, 1};
    int64_t planes = 1;
    Dims3 begin{0, 0, 0};  // where the part of the source that is seen lies
    Dims3 size{1, 1, 1};   // of that part
    Dims3 factor{1, 1, 1};
    DataType data_type = DataType::u8;
    int64_t batch = 1;
    size_t layer = 0;
    size_t offset = 0;  // bytes in the mask arena
};

// What a window leaves of planes: of one source plane by plane, or of several with a plane each all together.
struct WindowedPlanes {
    std::vector<MaskSource> sources;
    PconvPartialConvDesc desc{};
    int64_t planes = 1, batch = 1;
    bool hole_is_one = false;  // the sources'
    size_t layer = 0;
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
    std::vector<WindowedPlanes> windowed;
    std::vector<OnesPlane> ones;
    size_t arena_bytes = 0, mask_bytes = 0;
};

// Whether a convolution is to be fused with the upsampling of some of its channels; "" pins no row.
using FusesUpsampling = std::function<bool(const PartialConvDesc& desc, const std::string& implementation)>;

// Throws Error invalid_argument on the first fault, naming the layer. `inner` is the layout between layers;
// without `fuses` nothing is fused.
Plan makePlan(const Description& description, Layout inner, const FusesUpsampling& fuses = nullptr);

// "layer 3 (dec2)"
std::string layerName(const Layer& layer, size_t index);

// The caller's entries of D, H, W: those that there are.
inline size_t firstDim(int spatial_dims) {
    return static_cast<size_t>(3 - spatial_dims);
}

}  // namespace pconv::network
