// Networks of the C API: making, running and asking.
#include "network/network.h"

#include "core/checked.h"
#include "core/operands.h"

using namespace pconv;
using namespace pconv::network;

PconvNetwork_T::~PconvNetwork_T() {
    releaseOn(*device, passes);
}

namespace {

using MaskKind = MaskSource::Kind;

constexpr size_t kKeptPasses = 16;

PconvTensor planesOf(const Plan& plan, int64_t batch, int64_t planes, const Dims3& size, DataType type,
                     PconvBuffer buffer, size_t offset) {
    PconvTensor tensor{};
    tensor.buffer = buffer;
    tensor.offset = offset;
    tensor.data_type = static_cast<PconvDataType>(type);
    tensor.rank = plan.spatial_dims + 2;
    tensor.dims[0] = batch;
    tensor.dims[1] = planes;
    for (int i = 0; i < plan.spatial_dims; ++i)
        tensor.dims[2 + i] = size[static_cast<size_t>(3 - plan.spatial_dims + i)];
    return tensor;
}

DataType planeType(MaskType type) {
    return type == MaskType::fractional ? DataType::f32 : DataType::u8;
}

// The caller's mask in the polarity of all others: what a window of one element leaves of it.
OwnedMaskUpdate makeInverted(PconvDevice device, const Plan& plan) {
    PconvPartialConvDesc desc = pconvDefaultPartialConvDesc(plan.spatial_dims);
    desc.batch = plan.batch;
    desc.in_channels = desc.out_channels = desc.groups = plan.mask_planes;
    desc.mask_type = static_cast<PconvMaskType>(plan.mask_type);
    desc.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    desc.mask_window = PCONV_MASK_WINDOW_GROUP_CHANNELS;
    for (int i = 0; i < plan.spatial_dims; ++i)
        desc.input_size[i] = plan.input_size[static_cast<size_t>(3 - plan.spatial_dims + i)];
    const PconvMaskSegment segment{planesOf(plan, plan.mask_batch, plan.mask_planes, plan.input_size,
                                            planeType(plan.mask_type), nullptr, 0),
                                   1};
    PconvMask form = pconvDefaultMask();
    form.polarity = PCONV_MASK_HOLE_IS_ONE;
    form.segment_count = 1;
    form.segments = &segment;
    PconvMaskUpdate update = nullptr;
    check(pconvCreateMaskUpdate(device, &desc, &form, &update));
    return OwnedMaskUpdate(update);
}

bool uses(const Plan& plan, MaskKind kind) {
    for (const UpsampledPlanes& planes : plan.upsampled)
        if (planes.source.kind == kind) return true;
    for (const Value& value : plan.values)
        for (const MaskPart& part : value.mask.parts)
            if (part.source.kind == kind) return true;
    return false;
}

bool ofCallersMask(const TravelingMask& mask) {
    return mask.parts.size() == 1 && mask.parts[0].source.kind == MaskKind::network;
}

void makeConvolution(PconvDevice device, PconvNetwork_T& network, size_t index) {
    const Plan& plan = network.plan;
    const Layer& layer = plan.layers[index];
    PconvPartialConvDesc desc = layer.conv;
    if (!layer.implementation.empty()) desc.implementation = layer.implementation.c_str();
    std::vector<PconvMaskSegment> segments;
    for (const MaskPart& part : layer.conv_mask.parts)
        segments.push_back({planesOf(plan, layer.conv_mask.batch, part.planes, plan.values[layer.input].size,
                                     planeType(layer.conv_mask.type), nullptr, 0),
                            part.multiplicity});
    PconvMask form = pconvDefaultMask();
    form.segment_count = static_cast<int32_t>(segments.size());
    form.segments = segments.data();
    if (plan.hole_is_one && ofCallersMask(layer.conv_mask)) form.polarity = PCONV_MASK_HOLE_IS_ONE;
    const bool masked = !segments.empty();
    PconvMaskUpdate update = nullptr;
    check(pconvCreateMaskUpdate(device, &desc, masked ? &form : nullptr, &update));
    network.updates[index].reset(update);
    PconvPartialConv conv = nullptr;
    check(pconvCreatePartialConv(device, &desc, &conv));
    network.convs[index].reset(conv);
    if (!masked) check(pconvComputeMaskUpdate(update, nullptr));
}

OwnedBuffer makeArena(PconvDevice device, size_t bytes) {
    PconvBuffer buffer = nullptr;
    if (bytes > 0) check(pconvCreateBuffer(device, bytes, &buffer));
    return OwnedBuffer(buffer);
}

void writeOnes(const PconvNetwork_T& network, const OnesPlane& plane) {
    const auto count = static_cast<size_t>(plane.batch) * static_cast<size_t>(volume(plane.size));
    if (plane.data_type == DataType::u8) {
        const std::vector<uint8_t> ones(count, 1);
        check(pconvWriteBuffer(network.mask_arena.get(), plane.offset, ones.data(), count));
    } else {
        const std::vector<float> ones(count, 1.0F);
        check(pconvWriteBuffer(network.mask_arena.get(), plane.offset, ones.data(), count * sizeof(float)));
    }
}

// A pass put in order: every call of it, with its operands.
class Enqueuer {
  public:
    Enqueuer(PconvNetwork_T& network, const Operands& operands)
        : network_(network), plan_(network.plan), operands_(operands) {}

    std::vector<std::function<void()>> calls(bool with_masks) {
        if (with_masks) maskCalls();
        for (size_t i = 0; i < plan_.layers.size(); ++i) featureCalls(i);
        return std::move(calls_);
    }

  private:
    void maskCalls() {
        if (network_.inverted)
            add([update = network_.inverted->update.get(), planes = std::vector{operands_.mask}] {
                update->compute(planes);
            });
        for (size_t i = 0; i < plan_.layers.size(); ++i) {
            const Layer& layer = plan_.layers[i];
            for (size_t p = 0; p < plan_.upsampled.size(); ++p)
                if (plan_.upsampled[p].layer == i) upsamplePlanes(p);
            if (layer.conv_mask.parts.empty()) continue;
            std::vector<TensorRef> planes;
            for (const MaskPart& part : layer.conv_mask.parts) planes.push_back(planesAt(part.source));
            add([update = network_.updates[i]->update.get(), planes] { update->compute(planes); });
        }
    }

    void upsamplePlanes(size_t index) {
        const UpsampledPlanes& planes = plan_.upsampled[index];
        add([device = network_.device->device.get(), from = planesAt(planes.source),
             to = planesAt({MaskKind::upsampled, index}),
             dims = tensorDims(planes.batch, planes.planes, planes.size),
             factor = planes.factor] { device->upsample(from, to, dims, factor); });
    }

    TensorRef planesAt(const MaskSource& source) const {
        switch (source.kind) {
            case MaskKind::network:
                return operands_.mask;
            case MaskKind::inverted:
                return network_.inverted->results.updated_mask;
            case MaskKind::update:
                return network_.updates[source.index]->results.updated_mask;
            case MaskKind::upsampled: {
                const UpsampledPlanes& planes = plan_.upsampled[source.index];
                Dims3 size = planes.size;
                for (size_t d = 0; d < 3; ++d) size[d] *= planes.factor[d];
                return inMaskArena(planes.offset, planes.data_type,
                                   tensorDims(planes.batch, planes.planes, size));
            }
            case MaskKind::ones:
                break;
        }
        const OnesPlane& ones = plan_.ones[source.index];
        return inMaskArena(ones.offset, ones.data_type, tensorDims(ones.batch, 1, ones.size));
    }

    TensorRef inMaskArena(size_t offset, DataType type, const Dims5& dims) const {
        return {network_.mask_arena->state.buffer, offset, type, contiguousStrides(dims)};
    }

    TensorRef valueAt(size_t index, int64_t first_channel = 0) const {
        const Value& value = plan_.values[index];
        const Store& store = plan_.stores[value.store];
        TensorRef ref;
        if (store.kind == Store::Kind::arena) {
            ref = {network_.arena->state.buffer, store.offset, plan_.data_type, {}};
            const Dims5 dims = tensorDims(plan_.batch, store.channels, store.size);
            ref.strides = contiguousStrides(dims);
            if (store.layout == Layout::channels_last) {
                const Dims5 last = contiguousStrides({dims[0], dims[2], dims[3], dims[4], dims[1]});
                ref.strides = {last[0], last[4], last[1], last[2], last[3]};
            }
        } else {
            ref = store.kind == Store::Kind::input ? operands_.input : operands_.output;
        }
        ref.offset += static_cast<size_t>((value.first_channel + first_channel) * ref.strides[1]) *
                      sizeOf(plan_.data_type);
        return ref;
    }

    void featureCalls(size_t index) {
        const Layer& layer = plan_.layers[index];
        Device* device = network_.device->device.get();
        if (layer.type == PCONV_LAYER_TYPE_PARTIAL_CONV) {
            add([conv = network_.convs[index]->conv.get(), update = network_.updates[index]->update.get(),
                 from = valueAt(layer.input),
                 to = valueAt(layer.output)] { conv->forward(*update, from, to); });
        } else if (layer.type == PCONV_LAYER_TYPE_UPSAMPLE) {
            const Value& value = plan_.values[layer.input];
            add([device, from = valueAt(layer.input), to = valueAt(layer.output),
                 dims = tensorDims(plan_.batch, value.channels, value.size),
                 factor = layer.factor] { device->upsample(from, to, dims, factor); });
        } else {
            const Value& first = plan_.values[layer.input];
            if (layer.copy_first) copy(layer.input, layer.output, 0);
            if (layer.copy_second) copy(layer.second_input, layer.output, first.channels);
        }
    }

    void copy(size_t value, size_t target, int64_t first_channel) {
        const Value& source = plan_.values[value];
        add([device = network_.device->device.get(), from = valueAt(value),
             to = valueAt(target, first_channel),
             dims = tensorDims(plan_.batch, source.channels, source.size)] {
            device->convert(from, to, dims);
        });
    }

    template <typename Call>
    void add(Call call) {
        calls_.push_back(std::move(call));
    }

    PconvNetwork_T& network_;
    const Plan& plan_;
    Operands operands_;
    std::vector<std::function<void()>> calls_;
};

bool same(const TensorRef& a, const TensorRef& b) {
    return a.buffer == b.buffer && a.offset == b.offset && a.strides == b.strides;
}

Operand parseValue(const PconvNetwork_T& network, const PconvTensor* tensor, const char* name,
                   const Value& value) {
    const Plan& plan = network.plan;
    const Dims5 dims = tensorDims(plan.batch, value.channels, value.size);
    return {name, dims,
            parseTensor(tensor, {name, plan.data_type, plan.spatial_dims, dims, unitStride(plan.layout)},
                        *network.device)};
}

TensorRef parseMask(const PconvNetwork_T& network, const PconvTensor* mask) {
    const Plan& plan = network.plan;
    if (mask == nullptr) return {};
    if (plan.mask_type == MaskType::none)
        invalid("mask is given; expected null where mask_type is PCONV_MASK_TYPE_NONE");
    return parseTensor(mask,
                       {"mask", planeType(plan.mask_type), plan.spatial_dims,
                        tensorDims(plan.mask_batch, plan.mask_planes, plan.input_size), UnitStride::last},
                       *network.device);
}

// Called under the device's lock.
bool maskSideNeeded(const PconvNetwork_T& network, const TensorRef& mask) {
    for (size_t i = 0; i < network.convs.size(); ++i)
        if (network.convs[i] && !network.convs[i]->has_weights)
            invalid(layerName(network.plan.layers[i], i) + ": the weights have not been set");
    if (mask.buffer != nullptr) return true;
    if (network.masks_computed) return false;
    if (network.plan.mask_type != MaskType::none)
        invalid("mask is null; expected one in the first call, and after weights have changed");
    return true;
}

Recording& recordedPass(PconvNetwork_T& network, const Operands& operands, bool with_masks) {
    auto& passes = network.passes;
    for (auto pass = passes.begin(); pass != passes.end(); ++pass) {
        if (pass->with_masks != with_masks || !same(pass->operands.input, operands.input) ||
            !same(pass->operands.mask, operands.mask) || !same(pass->operands.output, operands.output))
            continue;
        passes.splice(passes.begin(), passes, pass);
        return *passes.front().recording;
    }
    auto calls = Enqueuer(network, operands).calls(with_masks);
    auto recording = network.device->device->record([calls = std::move(calls)] {
        for (const auto& call : calls) call();
    });
    passes.push_front({operands, with_masks, std::move(recording)});
    if (passes.size() > kKeptPasses) passes.pop_back();
    return *passes.front().recording;
}

PconvTensor outputPlanes(const PconvNetwork_T& network, const MaskPart& part) {
    const Plan& plan = network.plan;
    const Value& output = plan.values.back();
    const auto view = [&](PconvBuffer buffer, size_t offset) {
        return planesOf(plan, output.mask.batch, part.planes, output.size, planeType(output.mask.type),
                        buffer, offset);
    };
    switch (part.source.kind) {
        case MaskKind::network:
            return network.last_mask;
        case MaskKind::inverted:
            return view(network.inverted->buffer.get(), network.inverted->results.updated_mask.offset);
        case MaskKind::update: {
            const PconvMaskUpdate_T& update = *network.updates[part.source.index];
            return view(update.buffer.get(), update.results.updated_mask.offset);
        }
        case MaskKind::upsampled:
            return view(network.mask_arena.get(), plan.upsampled[part.source.index].offset);
        case MaskKind::ones:
            break;
    }
    return view(network.mask_arena.get(), plan.ones[part.source.index].offset);
}

}  // namespace

PconvStatus pconvCreateNetwork(PconvDevice device, const PconvNetworkDesc* desc, PconvNetwork* network) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        notNull(network, "network");
        std::unique_ptr<PconvNetwork_T> made(new PconvNetwork_T{});
        made->device = state;
        made->plan = makePlan(desc, state->device->preferredLayout());
        const size_t count = made->plan.layers.size();
        made->convs.resize(count);
        made->updates.resize(count);
        for (size_t i = 0; i < count; ++i) {
            if (made->plan.layers[i].type != PCONV_LAYER_TYPE_PARTIAL_CONV) continue;
            try {
                makeConvolution(device, *made, i);
            } catch (const Error& error) {
                fail(error.status(), layerName(made->plan.layers[i], i) + ": " + error.what());
            }
        }
        if (uses(made->plan, MaskKind::inverted)) made->inverted = makeInverted(device, made->plan);
        made->arena = makeArena(device, made->plan.arena_bytes);
        made->mask_arena = makeArena(device, made->plan.mask_bytes);
        for (const OnesPlane& plane : made->plan.ones) writeOnes(*made, plane);
        *network = made.release();
    });
}

void pconvReleaseNetwork(PconvNetwork network) {
    delete network;
}

PconvStatus pconvForwardNetwork(PconvNetwork network, const PconvTensor* input, const PconvTensor* mask,
                                const PconvTensor* output) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        const Operand in = parseValue(object, input, "input", object.plan.values.front());
        const Operand out = parseValue(object, output, "output", object.plan.values.back());
        checkApart(in, out);
        const Operands operands{in.tensor, parseMask(object, mask), out.tensor};
        const DeviceLock lock(*object.device);
        const bool with_masks = maskSideNeeded(object, operands.mask);
        Recording& pass = recordedPass(object, operands, with_masks);
        if (with_masks) object.masks_computed = false;
        pass.submit();
        object.masks_computed = true;
        if (mask != nullptr) object.last_mask = *mask;
    });
}

PconvStatus pconvGetNetworkOutputDims(PconvNetwork network, int64_t dims[PCONV_MAX_DIMS]) {
    return guarded([&] {
        const Plan& plan = notNull(network, "network").plan;
        notNull(dims, "dims");
        const Value& output = plan.values.back();
        dims[0] = plan.batch;
        dims[1] = output.channels;
        for (int i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i)
            dims[2 + i] =
                i < plan.spatial_dims ? output.size[static_cast<size_t>(3 - plan.spatial_dims + i)] : 1;
    });
}

PconvStatus pconvGetNetworkOutputMask(PconvNetwork network, int32_t capacity, PconvMaskSegment* segments,
                                      int32_t* count) {
    return guarded([&] {
        const PconvNetwork_T& object = notNull(network, "network");
        notNull(count, "count");
        if (capacity < 0) invalid("capacity is " + std::to_string(capacity) + "; expected at least 0");
        if (capacity > 0) notNull(segments, "segments");
        const auto& parts = object.plan.values.back().mask.parts;
        for (size_t i = 0; i < parts.size() && i < static_cast<size_t>(capacity); ++i)
            segments[i] = {outputPlanes(object, parts[i]), parts[i].multiplicity};
        *count = static_cast<int32_t>(parts.size());
    });
}

PconvStatus pconvGetNetworkImplementation(PconvNetwork network, int32_t layer, const char** name) {
    return guarded([&] {
        const PconvNetwork_T& object = notNull(network, "network");
        notNull(name, "name");
        if (layer < 0 || static_cast<size_t>(layer) >= object.convs.size() ||
            !object.convs[static_cast<size_t>(layer)])
            invalid("layer is " + std::to_string(layer) + "; expected the index of a partial convolution");
        *name = object.convs[static_cast<size_t>(layer)]->implementation;
    });
}
