#include "network/plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "core/checked.h"
#include "core/descriptor.h"
#include "core/operands.h"

namespace pconv::network {

namespace {

constexpr size_t kAlign = 256;
constexpr int kMaxLayers = 65536;

size_t aligned(int64_t bytes) {
    return (static_cast<size_t>(bytes) + kAlign - 1) / kAlign * kAlign;
}

void checkRange(const std::string& name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
        invalid(name + " is " + std::to_string(value) + "; expected " + std::to_string(least) + " to " +
                std::to_string(most));
}

// The caller's entries in D, H, W.
Dims3 expand(const int64_t* values, int spatial_dims, const char* name, int64_t least) {
    Dims3 result{1, 1, 1};
    for (int i = 0; i < spatial_dims; ++i) {
        checkRange(std::string(name) + "[" + std::to_string(i) + "]", values[i], least, kMaxSize);
        result[static_cast<size_t>(3 - spatial_dims + i)] = values[i];
    }
    return result;
}

int64_t elements(int64_t outer, int64_t channels, const Dims3& size) {
    int64_t count = checkedProduct(outer, channels, "a layer's output");
    for (const int64_t s : size) count = checkedProduct(count, s, "a layer's output");
    checkedProduct(count, 16, "a layer's output");
    return count;
}

// Whether every window holds an element of the input, so that what is valid everywhere stays so.
bool everyWindowTouchesInput(const Window& window) {
    for (size_t d = 0; d < 3; ++d)
        for (int64_t o = 0; o < window.output[d]; ++o) {
            const int64_t begin = o * window.stride[d] - window.padding[d];
            const int64_t tap = begin >= 0 ? 0 : (-begin + window.dilation[d] - 1) / window.dilation[d];
            if (tap >= window.kernel[d] || begin + tap * window.dilation[d] >= window.input[d]) return false;
        }
    return true;
}

class Planner {
  public:
    Planner(const PconvNetworkDesc& desc, Layout inner) : desc_(desc), inner_(inner) {}

    Plan make() {
        parseNetwork();
        for (int i = 0; i < desc_.layer_count; ++i) {
            // The caller's version of the struct tells how far apart they lie.
            const auto* at = reinterpret_cast<const char*>(desc_.layers) +
                             static_cast<size_t>(i) * desc_.layers->struct_size;
            const PconvLayer layer = copyVersioned(reinterpret_cast<const PconvLayer*>(at),
                                                   pconvDefaultLayer(desc_.spatial_dims), "layers");
            Layer& made = plan_.layers.emplace_back();
            made.name = layer.name != nullptr ? layer.name : "";
            const size_t index = static_cast<size_t>(i);
            try {
                addLayer(layer, index);
            } catch (const Error& error) {
                fail(error.status(), layerName(plan_.layers[index], index) + ": " + error.what());
            }
        }
        finish();
        return std::move(plan_);
    }

  private:
    void parseNetwork() {
        checkRange("spatial_dims", desc_.spatial_dims, 1, 3);
        checkRange("batch", desc_.batch, 1, kMaxSize);
        checkRange("channels", desc_.channels, 1, kMaxSize);
        checkRange("data_type", enumNumber(desc_.data_type), 0, PCONV_DATA_TYPE_BF16);
        checkRange("layout", enumNumber(desc_.layout), 0, PCONV_LAYOUT_CHANNELS_LAST);
        checkRange("mask_type", enumNumber(desc_.mask_type), 0, PCONV_MASK_TYPE_FRACTIONAL);
        checkRange("polarity", enumNumber(desc_.polarity), 0, PCONV_MASK_HOLE_IS_ONE);
        checkRange("layer_count", desc_.layer_count, 1, kMaxLayers);
        notNull(desc_.layers, "layers");
        plan_.spatial_dims = desc_.spatial_dims;
        plan_.batch = desc_.batch;
        plan_.data_type = static_cast<DataType>(desc_.data_type);
        plan_.layout = static_cast<Layout>(desc_.layout);
        plan_.mask_type = static_cast<MaskType>(desc_.mask_type);
        plan_.hole_is_one = desc_.polarity == PCONV_MASK_HOLE_IS_ONE;
        plan_.input_size = expand(desc_.size, desc_.spatial_dims, "size", 1);
        elements(desc_.batch, desc_.channels, plan_.input_size);
        Value input{desc_.channels, plan_.input_size, 0, 0, {}, false};
        if (plan_.mask_type != MaskType::none) {
            const auto either = [](const char* name, int64_t value, int64_t other) {
                if (value != 1 && value != other)
                    invalid(std::string(name) + " is " + std::to_string(value) + "; expected 1 or " +
                            std::to_string(other));
            };
            either("mask_batch", desc_.mask_batch, desc_.batch);
            either("mask_planes", desc_.mask_planes, desc_.channels);
            plan_.mask_batch = desc_.mask_batch;
            plan_.mask_planes = desc_.mask_planes;
            input.mask = {plan_.mask_type,
                          plan_.mask_batch,
                          {{{}, plan_.mask_planes, desc_.channels / plan_.mask_planes}}};
        }
        plan_.stores.push_back({Store::Kind::input, desc_.channels, plan_.input_size, plan_.layout, 0, 0, 0});
        plan_.values.push_back(input);
        used_.push_back(true);
    }

    // The value that a layer's input names.
    size_t valueOf(int32_t source, size_t layer, const char* name) {
        size_t value = 0;
        if (source == PCONV_LAYER_PREVIOUS)
            value = layer;  // value 0 is the input, so layer i makes value i + 1
        else if (source != PCONV_NETWORK_INPUT) {
            if (source < 0 || static_cast<size_t>(source) >= layer)
                invalid(std::string(name) + " is " + std::to_string(source) +
                        "; expected an earlier layer, PCONV_NETWORK_INPUT or PCONV_LAYER_PREVIOUS");
            value = static_cast<size_t>(source) + 1;
        }
        used_[value] = true;
        return value;
    }

    void addLayer(const PconvLayer& caller, size_t index) {
        Layer& layer = plan_.layers[index];
        checkRange("type", enumNumber(caller.type), 0, PCONV_LAYER_TYPE_CONCAT);
        layer.type = caller.type;
        layer.input = valueOf(caller.input, index, "input");
        if (layer.type == PCONV_LAYER_TYPE_CONCAT)
            layer.second_input = valueOf(caller.second_input, index, "second_input");
        Value value = layer.type == PCONV_LAYER_TYPE_CONCAT     ? concatenated(layer)
                      : layer.type == PCONV_LAYER_TYPE_UPSAMPLE ? upsampled(layer, caller, index)
                                                                : convolved(layer, caller, index);
        elements(plan_.batch, value.channels, value.size);
        value.store = plan_.stores.size();
        plan_.stores.push_back({Store::Kind::arena, value.channels, value.size, inner_, index, index, 0});
        layer.output = plan_.values.size();
        plan_.values.push_back(std::move(value));
        used_.push_back(false);
        if (layer.type == PCONV_LAYER_TYPE_CONCAT) {
            layer.copy_first = !movedInto(layer.input, layer.output, 0);
            layer.copy_second =
                !movedInto(layer.second_input, layer.output, plan_.values[layer.input].channels);
        }
    }

    // Puts a value where it is wanted, so that it need not be copied there; not the network's input, nor one
    // that lies in another concatenation already.
    bool movedInto(size_t value, size_t target, int64_t first_channel) {
        const size_t from = plan_.values[value].store;
        const size_t to = plan_.values[target].store;
        if (from == to || plan_.stores[from].kind != Store::Kind::arena ||
            plan_.stores[from].channels != plan_.values[value].channels)
            return false;
        for (Value& other : plan_.values) {
            if (other.store != from) continue;
            other.store = to;
            other.first_channel += first_channel;
        }
        return true;
    }

    // The network's own mask in the polarity of all others.
    MaskPart ordinary(MaskPart part) {
        if (part.source.kind == MaskSource::Kind::network && plan_.hole_is_one)
            part.source.kind = MaskSource::Kind::inverted;
        return part;
    }

    Value concatenated(const Layer& layer) {
        const Value& a = plan_.values[layer.input];
        const Value& b = plan_.values[layer.second_input];
        if (a.size != b.size) invalid("its inputs differ in size");
        Value value{a.channels + b.channels, a.size, 0, 0, {}, a.zero_in_holes && b.zero_in_holes};
        if (a.mask.parts.empty() && b.mask.parts.empty()) return value;
        const TravelingMask& known = a.mask.parts.empty() ? b.mask : a.mask;
        value.mask.type = known.type;
        value.mask.batch = known.batch;
        for (const Value* side : {&a, &b}) {
            if (side->mask.parts.empty()) {
                plan_.ones.push_back({side->size,
                                      known.type == MaskType::binary ? DataType::u8 : DataType::f32,
                                      known.batch, 0});
                value.mask.parts.push_back(
                    {{MaskSource::Kind::ones, plan_.ones.size() - 1}, 1, side->channels});
                continue;
            }
            if (side->mask.type != known.type) invalid("it joins a binary mask and a fractional one");
            if (side->mask.batch != known.batch)
                invalid("it joins masks of batch " + std::to_string(known.batch) + " and " +
                        std::to_string(side->mask.batch));
            for (const MaskPart& part : side->mask.parts) value.mask.parts.push_back(ordinary(part));
        }
        return value;
    }

    Value upsampled(Layer& layer, const PconvLayer& caller, size_t index) {
        const Value& input = plan_.values[layer.input];
        layer.factor = expand(caller.factor, plan_.spatial_dims, "factor", 1);
        Value value = input;
        for (size_t d = 0; d < 3; ++d) {
            value.size[d] = checkedProduct(value.size[d], layer.factor[d], "the output");
            checkRange("the output's size", value.size[d], 1, kMaxSize);
        }
        value.first_channel = 0;
        for (MaskPart& part : value.mask.parts) {
            part = ordinary(part);
            plan_.upsampled.push_back({part.source, part.planes, input.size, layer.factor,
                                       value.mask.type == MaskType::binary ? DataType::u8 : DataType::f32,
                                       value.mask.batch, index, 0});
            part.source = {MaskSource::Kind::upsampled, plan_.upsampled.size() - 1};
        }
        return value;
    }

    Value convolved(Layer& layer, const PconvLayer& caller, size_t index) {
        const Value& input = plan_.values[layer.input];
        PconvPartialConvDesc conv =
            copyVersioned(&caller.conv, pconvDefaultPartialConvDesc(plan_.spatial_dims), "conv");
        conv.spatial_dims = plan_.spatial_dims;
        conv.batch = plan_.batch;
        conv.in_channels = input.channels;
        for (int i = 0; i < plan_.spatial_dims; ++i)
            conv.input_size[i] = input.size[static_cast<size_t>(3 - plan_.spatial_dims + i)];
        conv.data_type = desc_.data_type;
        conv.math = desc_.math;
        conv.training = 0;
        if (enumNumber(conv.mask_type) != PCONV_MASK_TYPE_NONE) layer.conv_mask = input.mask;
        conv.mask_type = static_cast<PconvMaskType>(layer.conv_mask.type);
        const bool binary = layer.conv_mask.type == MaskType::binary;
        conv.input_is_masked = binary && input.zero_in_holes ? 1 : 0;
        if (conv.implementation != nullptr) layer.implementation = conv.implementation;
        conv.implementation = nullptr;  // pinned from the copy: the caller's text need not last
        const PartialConvDesc parsed = parsePartialConvDesc(&conv);
        checkMaskMode(layer.conv_mask, parsed);
        if (caller.batch_norm != nullptr) {
            if (!parsed.has_bias) invalid("has_bias is 0; expected 1 with a batch normalization");
            if (!std::isfinite(caller.batch_norm_eps) || caller.batch_norm_eps < 0)
                invalid("batch_norm_eps is not a finite number of at least 0");
            layer.batch_norm = caller.batch_norm;
            layer.batch_norm_eps = caller.batch_norm_eps;
        }
        layer.conv = conv;
        return {
            parsed.out_channels, parsed.window.output, 0, 0, updated(layer.conv_mask, parsed, index), true};
    }

    static void checkMaskMode(const TravelingMask& mask, const PartialConvDesc& conv) {
        if (mask.parts.empty() || conv.multi_channel) return;
        if (mask.parts.size() > 1 || mask.parts[0].planes > 1)
            invalid(
                "mask_mode is single-channel, but its input's channels have masks of their own; expected "
                "PCONV_MASK_MODE_MULTI_CHANNEL");
    }

    static TravelingMask updated(const TravelingMask& mask, const PartialConvDesc& conv, size_t index) {
        if (mask.parts.empty() && (conv.maskedConvolution() || everyWindowTouchesInput(conv.window)))
            return {};
        const int64_t planes = conv.maskGroups();
        const bool fractional =
            mask.type == MaskType::fractional || (conv.maskedConvolution() && mask.type != MaskType::none);
        return {fractional ? MaskType::fractional : MaskType::binary,
                mask.batch,
                {{{MaskSource::Kind::update, index}, planes, conv.out_channels / planes}}};
    }

    void finish() {
        for (size_t i = 0; i + 1 < plan_.layers.size(); ++i)
            if (!used_[i + 1])
                invalid(layerName(plan_.layers[i], i) +
                        " is used by no later layer; the last one is the output");
        Store& last = plan_.stores[plan_.values.back().store];
        last.kind = Store::Kind::output;
        last.layout = plan_.layout;
        for (Layer& layer : plan_.layers) {
            if (layer.type != PCONV_LAYER_TYPE_PARTIAL_CONV) continue;
            layer.conv.input_layout = layoutOf(layer.input);
            layer.conv.output_layout = layoutOf(layer.output);
        }
        placeStores();
        for (UpsampledPlanes& planes : plan_.upsampled) {
            Dims3 size = planes.size;
            for (size_t d = 0; d < 3; ++d) size[d] *= planes.factor[d];
            planes.offset = placeMask(planes.batch, planes.planes, size, planes.data_type);
        }
        for (OnesPlane& ones : plan_.ones) ones.offset = placeMask(ones.batch, 1, ones.size, ones.data_type);
    }

    PconvLayout layoutOf(size_t value) const {
        return static_cast<PconvLayout>(plan_.stores[plan_.values[value].store].layout);
    }

    size_t placeMask(int64_t batch, int64_t planes, const Dims3& size, DataType type) {
        const size_t offset = plan_.mask_bytes;
        plan_.mask_bytes += aligned(elements(batch, planes, size) * static_cast<int64_t>(sizeOf(type)));
        return offset;
    }

    // Largest first, each at the lowest offset where nothing lives at the same time.
    void placeStores() {
        std::set<size_t> live;
        for (size_t i = 0; i < plan_.layers.size(); ++i) {
            const Layer& layer = plan_.layers[i];
            const auto touch = [&](size_t value) {
                Store& store = plan_.stores[plan_.values[value].store];
                store.first_use = live.insert(plan_.values[value].store).second ? i : store.first_use;
                store.last_use = i;
            };
            touch(layer.input);
            if (layer.type == PCONV_LAYER_TYPE_CONCAT) touch(layer.second_input);
            touch(layer.output);
        }
        std::vector<size_t> order;
        for (const size_t s : live)
            if (plan_.stores[s].kind == Store::Kind::arena) order.push_back(s);
        std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return bytes(a) > bytes(b); });
        std::vector<size_t> placed;
        for (const size_t s : order) {
            Store& store = plan_.stores[s];
            std::sort(placed.begin(), placed.end(),
                      [&](size_t a, size_t b) { return plan_.stores[a].offset < plan_.stores[b].offset; });
            size_t offset = 0;
            for (const size_t p : placed) {
                const Store& other = plan_.stores[p];
                const bool together = other.first_use <= store.last_use && store.first_use <= other.last_use;
                if (together && other.offset < offset + bytes(s) && offset < other.offset + bytes(p))
                    offset = other.offset + bytes(p);
            }
            store.offset = offset;
            plan_.arena_bytes = std::max(plan_.arena_bytes, offset + bytes(s));
            placed.push_back(s);
        }
    }

    size_t bytes(size_t index) const {
        const Store& store = plan_.stores[index];
        return aligned(elements(plan_.batch, store.channels, store.size) *
                       static_cast<int64_t>(sizeOf(plan_.data_type)));
    }

    PconvNetworkDesc desc_;
    Layout inner_;
    Plan plan_;
    std::vector<bool> used_;  // by value
};

}  // namespace

Plan makePlan(const PconvNetworkDesc* caller, Layout inner) {
    return Planner(copyVersioned(caller, pconvDefaultNetworkDesc(2), "desc"), inner).make();
}

std::string layerName(const Layer& layer, size_t index) {
    return "layer " + std::to_string(index) + (layer.name.empty() ? "" : " (" + layer.name + ")");
}

}  // namespace pconv::network
