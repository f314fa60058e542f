#include "network/planner.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/checked.h"
#include "core/descriptor.h"
#include "core/operands.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

constexpr size_t kAlign = 256;

size_t aligned(int64_t bytes) {
    return (static_cast<size_t>(bytes) + kAlign - 1) / kAlign * kAlign;
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

void checkMaskMode(const TravelingMask& mask, const PartialConvDesc& conv) {
    if (mask.parts.empty() || conv.multi_channel) return;
    if (mask.parts.size() > 1 || mask.parts[0].planes > 1)
        invalid(
            "mask_mode is single-channel, but its input's channels have masks of their own; expected "
            "PCONV_MASK_MODE_MULTI_CHANNEL");
}

TravelingMask updated(const TravelingMask& mask, const PartialConvDesc& conv, size_t index) {
    const bool valid_everywhere = conv.maskedConvolution() || conv.padding_mode != PaddingMode::zeros ||
                                  everyWindowTouchesInput(conv.window);
    if (mask.parts.empty() && valid_everywhere) return {};
    const int64_t planes = conv.maskGroups();
    const bool fractional =
        mask.type == MaskType::fractional || (conv.maskedConvolution() && mask.type != MaskType::none);
    return {fractional ? MaskType::fractional : MaskType::binary,
            mask.batch,
            {{{MaskSource::Kind::update, index}, planes, conv.out_channels / planes}}};
}

bool isJoin(PconvLayerType type) {
    return type == PCONV_LAYER_TYPE_CONCAT;
}

}  // namespace

void checkRange(const std::string& name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
        invalid(name + " is " + std::to_string(value) + "; expected " + std::to_string(least) + " to " +
                std::to_string(most));
}

void expectEvenZeros(const PconvPartialConvDesc& conv, int spatial_dims) {
    if (enumNumber(conv.padding_mode) != PCONV_PADDING_MODE_ZEROS)
        invalid("padding_mode is set; expected PCONV_PADDING_MODE_ZEROS for this type of layer");
    for (int i = 0; i < spatial_dims; ++i)
        if (conv.padding_end[i] != PCONV_PADDING_AS_IN_FRONT && conv.padding_end[i] != conv.padding[i])
            invalid("padding_end[" + std::to_string(i) + "] is " + std::to_string(conv.padding_end[i]) +
                    "; expected as much as in front, " + std::to_string(conv.padding[i]) +
                    ", for this type of layer");
}

Dims3 expand(const int64_t* values, int spatial_dims, const char* name, int64_t least, int64_t fill) {
    Dims3 result{fill, fill, fill};
    for (int i = 0; i < spatial_dims; ++i) {
        checkRange(std::string(name) + "[" + std::to_string(i) + "]", values[i], least, kMaxSize);
        result[static_cast<size_t>(3 - spatial_dims + i)] = values[i];
    }
    return result;
}

Plan Planner::make() {
    parseNetwork();
    for (size_t i = 0; i < description_.layers().size(); ++i) {
        const PconvLayer& layer = description_.layers()[i];
        Layer& made = plan_.layers.emplace_back();
        made.name = layer.name != nullptr ? layer.name : "";
        try {
            addLayer(layer, i);
        } catch (const Error& error) {
            fail(error.status(), layerName(plan_.layers[i], i) + ": " + error.what());
        }
    }
    finish();
    return std::move(plan_);
}

void Planner::parseNetwork() {
    checkRange("spatial_dims", desc_.spatial_dims, 1, 3);
    checkRange("batch", desc_.batch, 1, kMaxSize);
    checkRange("channels", desc_.channels, 1, kMaxSize);
    checkRange("data_type", enumNumber(desc_.data_type), 0, PCONV_DATA_TYPE_BF16);
    checkRange("layout", enumNumber(desc_.layout), 0, PCONV_LAYOUT_CHANNELS_LAST);
    checkRange("mask_type", enumNumber(desc_.mask_type), 0, PCONV_MASK_TYPE_FRACTIONAL);
    checkRange("polarity", enumNumber(desc_.polarity), 0, PCONV_MASK_HOLE_IS_ONE);
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
        input.mask = {
            plan_.mask_type, plan_.mask_batch, {{{}, plan_.mask_planes, desc_.channels / plan_.mask_planes}}};
    }
    plan_.stores.push_back({Store::Kind::input, desc_.channels, plan_.input_size, plan_.layout, 0, 0, 0});
    plan_.values.push_back(input);
    used_.push_back(true);
}

// The value that a layer's input names.
size_t Planner::valueOf(int32_t source, size_t layer, const char* name) {
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

void Planner::addLayer(const PconvLayer& caller, size_t index) {
    Layer& layer = plan_.layers[index];
    checkRange("type", enumNumber(caller.type), 0, PCONV_LAYER_TYPE_CROP);
    layer.type = caller.type;
    layer.inputs = {valueOf(caller.input, index, "input")};
    Value value = kindOf(layer.type).plan(*this, layer, caller, index);
    elements(plan_.batch, value.channels, value.size);
    value.store = plan_.stores.size();
    value.first_channel = 0;
    plan_.stores.push_back({Store::Kind::arena, value.channels, value.size, inner_, index, index, 0});
    layer.output = plan_.values.size();
    plan_.values.push_back(std::move(value));
    used_.push_back(false);
    const auto fusion = fusions_.find(index);
    if (fusion != fusions_.end()) {
        layer.inputs = fusion->second.inputs;
        layer.upsampled = fusion->second.channels;
    }
    layer.fused = isFused(index);
    if (!isJoin(layer.type) || layer.fused) return;
    int64_t channel = 0;
    for (const size_t input : layer.inputs) {
        layer.copied.push_back(!movedInto(input, layer.output, channel));
        channel += plan_.values[input].channels;
    }
}

bool Planner::isFused(size_t index) const {
    return std::any_of(fusions_.begin(), fusions_.end(), [&](const auto& entry) {
        const std::vector<size_t>& layers = entry.second.layers;
        return std::find(layers.begin(), layers.end(), index) != layers.end();
    });
}

void Planner::addSecondInput(Layer& layer, const PconvLayer& caller, size_t index) {
    layer.inputs.push_back(valueOf(caller.second_input, index, "second_input"));
}

void Planner::addMoreInputs(Layer& layer, const PconvLayer& caller, size_t index) {
    addSecondInput(layer, caller, index);
    for (int32_t i = 0; i < caller.more_input_count; ++i)
        layer.inputs.push_back(valueOf(caller.more_inputs[i], index, "more_inputs"));
}

PconvPartialConvDesc Planner::describeConv(const PconvLayer& caller, int64_t channels,
                                           const Dims3& size) const {
    PconvPartialConvDesc conv =
        copyVersioned(&caller.conv, pconvDefaultPartialConvDesc(plan_.spatial_dims), "conv");
    conv.spatial_dims = plan_.spatial_dims;
    conv.batch = plan_.batch;
    conv.in_channels = channels;
    for (int i = 0; i < plan_.spatial_dims; ++i)
        conv.input_size[i] = size[firstDim(plan_.spatial_dims) + static_cast<size_t>(i)];
    conv.data_type = desc_.data_type;
    conv.math = desc_.math;
    conv.training = 0;
    return conv;
}

PassDesc Planner::describePass(PassKind kind, int64_t channels, const Dims3& size,
                               const PconvLayer& caller) const {
    PassDesc pass;
    pass.kind = kind;
    pass.batch = plan_.batch;
    pass.channels = channels;
    pass.window.input = pass.window.output = size;
    checkRange("activation", enumNumber(caller.conv.activation), 0, PCONV_ACTIVATION_GELU);
    pass.activation = static_cast<Activation>(caller.conv.activation);
    if (!std::isfinite(caller.conv.negative_slope)) invalid("negative_slope is not a finite number");
    pass.negative_slope = caller.conv.negative_slope;
    return pass;
}

// Puts a value where it is wanted, so that it need not be copied there; not the network's input, nor one
// that lies in another concatenation already.
bool Planner::movedInto(size_t value, size_t target, int64_t first_channel) {
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
MaskPart Planner::ordinary(MaskPart part) {
    if (part.source.kind != MaskSource::Kind::network || !plan_.hole_is_one) return part;
    for (size_t i = 0; i < plan_.windowed.size(); ++i)
        if (plan_.windowed[i].hole_is_one) {
            part.source = {MaskSource::Kind::windowed, i};
            return part;
        }
    WindowedPlanes planes;
    planes.sources = {part.source};
    planes.desc = planesDesc(plan_.mask_planes, plan_.input_size, plan_.mask_type);
    planes.planes = plan_.mask_planes;
    planes.batch = plan_.mask_batch;
    planes.hole_is_one = true;
    plan_.windowed.push_back(planes);
    part.source = {MaskSource::Kind::windowed, plan_.windowed.size() - 1};
    return part;
}

TravelingMask Planner::copied(const TravelingMask& mask, const Dims3& size, size_t index) {
    TravelingMask result = mask;
    for (MaskPart& part : result.parts) {
        part = ordinary(part);
        if (part.source.kind != MaskSource::Kind::network) continue;
        Window window;
        window.input = window.output = size;
        part = windowed({mask.type, mask.batch, {part}}, window, index).parts[0];
    }
    return result;
}

// A window of one element over planes, each by itself.
PconvPartialConvDesc Planner::planesDesc(int64_t channels, const Dims3& size, MaskType type) const {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(plan_.spatial_dims);
    desc.batch = plan_.batch;
    desc.in_channels = desc.out_channels = desc.groups = channels;
    desc.mask_type = static_cast<PconvMaskType>(type);
    desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    desc.mask_window = PCONV_MASK_WINDOW_GROUP_CHANNELS;
    for (int i = 0; i < plan_.spatial_dims; ++i)
        desc.input_size[i] = size[firstDim(plan_.spatial_dims) + static_cast<size_t>(i)];
    return desc;
}

TravelingMask Planner::resampled(const TravelingMask& mask, const Dims3& source, const Dims3& begin,
                                 const Dims3& size, const Dims3& factor, size_t index) {
    TravelingMask result = mask;
    for (MaskPart& part : result.parts) {
        part = ordinary(part);
        UpsampledPlanes planes;
        planes.source = part.source;
        planes.source_size = source;
        planes.planes = part.planes;
        planes.begin = begin;
        planes.size = size;
        planes.factor = factor;
        planes.data_type = mask.type == MaskType::binary ? DataType::u8 : DataType::f32;
        planes.batch = mask.batch;
        planes.layer = index;
        plan_.upsampled.push_back(planes);
        part.source = {MaskSource::Kind::upsampled, plan_.upsampled.size() - 1};
    }
    return result;
}

TravelingMask Planner::windowed(const TravelingMask& mask, const Window& window, size_t index) {
    TravelingMask result = mask;
    for (MaskPart& part : result.parts) {
        part = ordinary(part);
        WindowedPlanes planes;
        planes.sources = {part.source};
        planes.desc = planesDesc(part.planes, window.input, mask.type);
        for (int i = 0; i < plan_.spatial_dims; ++i) {
            const size_t d = firstDim(plan_.spatial_dims) + static_cast<size_t>(i);
            planes.desc.kernel[i] = window.kernel[d];
            planes.desc.stride[i] = window.stride[d];
            planes.desc.padding[i] = window.padding[d];
        }
        planes.planes = part.planes;
        planes.batch = mask.batch;
        planes.layer = index;
        plan_.windowed.push_back(planes);
        part.source = {MaskSource::Kind::windowed, plan_.windowed.size() - 1};
    }
    return result;
}

TravelingMask Planner::joined(const std::vector<const Value*>& values) {
    TravelingMask result;
    for (const Value* value : values) {
        if (value->mask.parts.empty()) continue;
        const TravelingMask& mask = value->mask;
        if (result.type == MaskType::none) {
            result.type = mask.type;
            result.batch = mask.batch;
        }
        if (mask.type != result.type) invalid("it joins a binary mask and a fractional one");
        if (mask.batch != result.batch)
            invalid("it joins masks of batch " + std::to_string(result.batch) + " and " +
                    std::to_string(mask.batch));
    }
    if (result.type == MaskType::none) return result;
    // Neighbours with one plane are one part, so that what has one mask keeps it.
    const auto add = [&](const MaskPart& part) {
        MaskPart* last = result.parts.empty() ? nullptr : &result.parts.back();
        if (last != nullptr && last->source == part.source && last->planes == 1 && part.planes == 1)
            last->multiplicity += part.multiplicity;
        else
            result.parts.push_back(part);
    };
    for (const Value* value : values) {
        if (value->mask.parts.empty()) {
            plan_.ones.push_back({value->size, result.type == MaskType::binary ? DataType::u8 : DataType::f32,
                                  result.batch, 0});
            result.parts.push_back({{MaskSource::Kind::ones, plan_.ones.size() - 1}, 1, value->channels});
            continue;
        }
        for (const MaskPart& part : value->mask.parts) add(ordinary(part));
    }
    return result;
}

TravelingMask Planner::eitherOf(const std::vector<const Value*>& values, size_t index) {
    const TravelingMask& first = values[0]->mask;
    bool alike = true;
    for (const Value* value : values) {
        if (value->mask.parts.empty()) return {};
        alike = alike && value->mask.parts == first.parts;
    }
    if (alike) return first;
    WindowedPlanes planes;
    for (const Value* value : values) {
        const TravelingMask& mask = value->mask;
        if (mask.type != first.type) invalid("it adds a binary mask and a fractional one");
        if (mask.batch != first.batch)
            invalid("it adds masks of batch " + std::to_string(first.batch) + " and " +
                    std::to_string(mask.batch));
        if (mask.parts.size() > 1 || mask.parts[0].planes > 1)
            invalid("it adds different masks of several planes; expected one plane each");
        if (!value->zero_in_holes)
            invalid("its inputs have different masks and may hold anything in holes; expected 0 there");
        planes.sources.push_back(ordinary(mask.parts[0]).source);
    }
    const auto count = static_cast<int64_t>(planes.sources.size());
    planes.desc = planesDesc(count, values[0]->size, first.type);
    planes.desc.out_channels = planes.desc.groups = 1;
    planes.batch = first.batch;
    planes.layer = index;
    plan_.windowed.push_back(planes);
    return {first.type,
            first.batch,
            {{{MaskSource::Kind::windowed, plan_.windowed.size() - 1}, 1, values[0]->channels}}};
}

Value Planner::convolve(Layer& layer, const PconvPartialConvDesc& caller, const TravelingMask& mask,
                        bool zero_in_holes, size_t index) {
    PconvPartialConvDesc conv = caller;
    layer.conv_mask = mask;
    conv.mask_type = static_cast<PconvMaskType>(mask.type);
    conv.input_is_masked = mask.type == MaskType::binary && zero_in_holes ? 1 : 0;
    if (conv.implementation != nullptr) layer.implementation = conv.implementation;
    conv.implementation = nullptr;  // pinned from the copy: the caller's text need not last
    const PartialConvDesc parsed = parsePartialConvDesc(&conv);
    checkMaskMode(mask, parsed);
    layer.conv = conv;
    return {parsed.out_channels, parsed.window.output, 0, 0, updated(mask, parsed, index), true};
}

void Planner::finish() {
    for (size_t i = 0; i + 1 < plan_.layers.size(); ++i)
        if (!used_[i + 1])
            invalid(layerName(plan_.layers[i], i) + " is used by no later layer; the last one is the output");
    Store& last = plan_.stores[plan_.values.back().store];
    last.kind = Store::Kind::output;
    last.layout = plan_.layout;
    for (Layer& layer : plan_.layers) {
        const bool turned = layer.type == PCONV_LAYER_TYPE_TRANSPOSED_CONV;
        layer.conv.input_layout = layoutOf(turned ? layer.output : layer.inputs[0]);
        layer.conv.output_layout = layoutOf(turned ? layer.inputs[0] : layer.output);
    }
    placeStores();
    for (UpsampledPlanes& planes : plan_.upsampled) {
        Dims3 size = planes.size;
        for (size_t d = 0; d < 3; ++d) size[d] *= planes.factor[d];
        planes.offset = placeMask(planes.batch, planes.planes, size, planes.data_type);
    }
    for (OnesPlane& ones : plan_.ones) ones.offset = placeMask(ones.batch, 1, ones.size, ones.data_type);
}

PconvLayout Planner::layoutOf(size_t value) const {
    return static_cast<PconvLayout>(plan_.stores[plan_.values[value].store].layout);
}

size_t Planner::placeMask(int64_t batch, int64_t planes, const Dims3& size, DataType type) {
    const size_t offset = plan_.mask_bytes;
    plan_.mask_bytes += aligned(elements(batch, planes, size) * static_cast<int64_t>(sizeOf(type)));
    return offset;
}

// Largest first, each at the lowest offset where nothing lives at the same time.
void Planner::placeStores() {
    std::set<size_t> live;
    for (size_t i = 0; i < plan_.layers.size(); ++i) {
        const Layer& layer = plan_.layers[i];
        if (layer.fused) continue;
        const auto touch = [&](size_t value) {
            Store& store = plan_.stores[plan_.values[value].store];
            store.first_use = live.insert(plan_.values[value].store).second ? i : store.first_use;
            store.last_use = i;
        };
        for (const size_t input : layer.inputs) touch(input);
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

size_t Planner::bytes(size_t index) const {
    const Store& store = plan_.stores[index];
    return aligned(elements(plan_.batch, store.channels, store.size) *
                   static_cast<int64_t>(sizeOf(plan_.data_type)));
}

Plan makePlan(const Description& description, Layout inner, const FusesUpsampling& fuses) {
    Plan plan = Planner(description, inner).make();
    Fusions fusions = fuses ? findFusions(plan, fuses) : Fusions{};
    if (fusions.empty()) return plan;
    return Planner(description, inner, std::move(fusions)).make();
}

std::string layerName(const Layer& layer, size_t index) {
    return "layer " + std::to_string(index) + (layer.name.empty() ? "" : " (" + layer.name + ")");
}

}  // namespace pconv::network
