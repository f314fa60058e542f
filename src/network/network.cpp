// Networks of the C API: making, running and asking.
#include "network/network.h"

#include <algorithm>

#include "core/checked.h"
#include "core/network_passes.h"
#include "network/layer_kind.h"

using namespace pconv;
using namespace pconv::network;

namespace {

using MaskKind = MaskSource::Kind;

Operand parseValue(const Prepared& prepared, const PconvTensor* tensor, const char* name,
                   const Value& value) {
    const Plan& plan = prepared.plan;
    const Dims5 dims = tensorDims(plan.batch, value.channels, value.size);
    return {name, dims,
            parseTensor(tensor, {name, plan.data_type, plan.spatial_dims, dims, unitStride(plan.layout)},
                        *prepared.device)};
}

TensorRef parseMask(const Prepared& prepared, const PconvTensor* mask) {
    const Plan& plan = prepared.plan;
    if (mask == nullptr) return {};
    if (plan.mask_type == MaskType::none)
        invalid("mask is given; expected null where mask_type is PCONV_MASK_TYPE_NONE");
    return parseTensor(mask,
                       {"mask", planeType(plan.mask_type), plan.spatial_dims,
                        tensorDims(plan.mask_batch, plan.mask_planes, plan.input_size), UnitStride::last},
                       *prepared.device);
}

// Called under the device's lock.
bool maskSideNeeded(const Prepared& prepared, const TensorRef& mask) {
    for (size_t i = 0; i < prepared.layers.size(); ++i) {
        const Layer& layer = prepared.plan.layers[i];
        if (kindOf(layer.type).hasWeights(layer) && !prepared.layers[i].has_weights)
            invalid(layerName(layer, i) + ": the weights have not been set");
    }
    if (mask.buffer != nullptr) return true;
    if (prepared.masks_computed) return false;
    if (prepared.plan.mask_type != MaskType::none)
        invalid("mask is null; expected one in the first call, and after weights or the size have changed");
    return true;
}

PconvTensor outputPlanes(const Prepared& prepared, const MaskPart& part) {
    const Plan& plan = prepared.plan;
    const Value& output = plan.values.back();
    const auto view = [&](PconvBuffer buffer, size_t offset) {
        return planesOf(plan, output.mask.batch, part.planes, output.size, planeType(output.mask.type),
                        buffer, offset);
    };
    const auto results = [&](const PconvMaskUpdate_T& update) {
        return view(update.buffer.get(), update.results.updated_mask.offset);
    };
    switch (part.source.kind) {
        case MaskKind::network:
            return prepared.last_mask;
        case MaskKind::update:
            return results(*prepared.layers[part.source.index].update);
        case MaskKind::windowed:
            return results(*prepared.windowed[part.source.index]);
        case MaskKind::upsampled:
            return view(prepared.mask_arena.get(), plan.upsampled[part.source.index].offset);
        case MaskKind::ones:
            break;
    }
    return view(prepared.mask_arena.get(), plan.ones[part.source.index].offset);
}

bool isOf(const Prepared& prepared, const PconvNetworkDesc& desc) {
    const Plan& plan = prepared.plan;
    return plan.batch == desc.batch &&
           std::equal(plan.input_size.begin() + static_cast<int64_t>(firstDim(plan.spatial_dims)),
                      plan.input_size.end(), desc.size);
}

// Puts a shape to use, with an arena that has room for the one before it too.
void use(PconvNetwork_T& network, std::unique_ptr<Prepared> made) {
    auto& all = network.prepared;
    const size_t before = all.empty() ? 0 : all.front()->plan.arena_bytes;
    size_t bytes = std::max(made->plan.arena_bytes, before);
    bool fits = bytes == network.arena_bytes;
    PconvDevice_T device{network.device};
    OwnedBuffer arena;
    try {
        if (!fits) arena = makeBuffer(&device, bytes);
    } catch (const Error& error) {
        // One that is too large serves as well as a smaller one for which there is no memory beside it.
        if (bytes > network.arena_bytes || error.status() != PCONV_ERROR_OUT_OF_MEMORY) throw;
        fits = true;
        bytes = network.arena_bytes;
    }
    if (!fits) releasePasses(&network);  // they were recorded with the arena of then
    all.push_front(std::move(made));
    if (!fits) network.arena = std::move(arena);
    network.arena_bytes = bytes;
    for (const auto& prepared : all) prepared->arena = network.arena.get();
}

// A network of the shape that the description has now, with the weights kept.
std::unique_ptr<Prepared> prepareAgain(PconvNetwork_T& network) {
    PconvDevice_T device{network.device};
    std::unique_ptr<Prepared> made = prepare(&device, *network.description);
    for (size_t i = 0; i < network.kept.size(); ++i) {
        const KeptWeights& kept = network.kept[i];
        if (!kept.given) continue;
        try {
            kindOf(made->plan.layers[i].type).setWeights(*made, i, kept.weight.get(), kept.bias.get());
            made->layers[i].has_weights = true;
        } catch (const Error& error) {
            fail(error.status(), layerName(made->plan.layers[i], i) + ": " + error.what());
        }
    }
    return made;
}

}  // namespace

void pconv::releasePasses(PconvNetwork network) {
    const DeviceLock lock(*network->device);
    for (const auto& prepared : network->prepared) prepared->passes.clear();
}

PconvStatus pconvCreateNetwork(PconvDevice device, const PconvNetworkDesc* desc, PconvNetwork* network) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        notNull(network, "network");
        std::unique_ptr<PconvNetwork_T> made(new PconvNetwork_T{});
        made->device = state;
        made->description = std::make_unique<Description>(desc);
        use(*made, prepare(device, *made->description));
        if (made->description->desc().resizable != 0) made->kept.resize(made->description->layers().size());
        *network = made.release();
    });
}

void pconvReleaseNetwork(PconvNetwork network) {
    delete network;
}

PconvStatus pconvResizeNetwork(PconvNetwork network, int64_t batch,
                               const int64_t size[PCONV_MAX_SPATIAL_DIMS]) {
    return guarded([&] {
        PconvNetwork_T& object = notNull(network, "network");
        notNull(size, "size");
        const PconvNetworkDesc before = object.description->desc();
        if (before.resizable == 0) invalid("the network was made with resizable 0; expected 1");
        object.description->setShape(batch, size);
        try {
            const PconvNetworkDesc& wanted = object.description->desc();
            auto& all = object.prepared;
            const auto found =
                std::find_if(all.begin(), all.end(), [&](const auto& p) { return isOf(*p, wanted); });
            if (found != all.end()) {
                all.splice(all.begin(), all, found);
                // Another mask may have been given since.
                if (object.current().plan.mask_type != MaskType::none)
                    object.current().masks_computed = false;
            } else {
                all.resize(1);  // of three, memory would have to have room
                use(object, prepareAgain(object));
            }
        } catch (...) {
            object.description->setShape(before.batch, before.size);
            throw;
        }
    });
}

PconvStatus pconvForwardNetwork(PconvNetwork network, const PconvTensor* input, const PconvTensor* mask,
                                const PconvTensor* output) {
    return guarded([&] {
        Prepared& prepared = notNull(network, "network").current();
        const Operand in = parseValue(prepared, input, "input", prepared.plan.values.front());
        const Operand out = parseValue(prepared, output, "output", prepared.plan.values.back());
        checkApart(in, out);
        const Operands operands{in.tensor, parseMask(prepared, mask), out.tensor};
        const DeviceLock lock(*prepared.device);
        const bool with_masks = maskSideNeeded(prepared, operands.mask);
        Recording& pass = recordedPass(prepared, operands, with_masks);
        if (with_masks) prepared.masks_computed = false;
        pass.submit();
        prepared.masks_computed = true;
        if (mask != nullptr) prepared.last_mask = *mask;
    });
}

PconvStatus pconvGetNetworkOutputDims(PconvNetwork network, int64_t dims[PCONV_MAX_DIMS]) {
    return guarded([&] {
        const Plan& plan = notNull(network, "network").current().plan;
        notNull(dims, "dims");
        const Value& output = plan.values.back();
        dims[0] = plan.batch;
        dims[1] = output.channels;
        for (int i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i)
            dims[2 + i] =
                i < plan.spatial_dims ? output.size[firstDim(plan.spatial_dims) + static_cast<size_t>(i)] : 1;
    });
}

PconvStatus pconvGetNetworkOutputMask(PconvNetwork network, int32_t capacity, PconvMaskSegment* segments,
                                      int32_t* count) {
    return guarded([&] {
        const Prepared& prepared = notNull(network, "network").current();
        notNull(count, "count");
        if (capacity < 0) invalid("capacity is " + std::to_string(capacity) + "; expected at least 0");
        if (capacity > 0) notNull(segments, "segments");
        const auto& parts = prepared.plan.values.back().mask.parts;
        for (size_t i = 0; i < parts.size() && i < static_cast<size_t>(capacity); ++i)
            segments[i] = {outputPlanes(prepared, parts[i]), parts[i].multiplicity};
        *count = static_cast<int32_t>(parts.size());
    });
}

PconvStatus pconvGetNetworkImplementation(PconvNetwork network, int32_t layer, const char** name) {
    return guarded([&] {
        const auto& layers = notNull(network, "network").current().layers;
        notNull(name, "name");
        if (layer < 0 || static_cast<size_t>(layer) >= layers.size() ||
            !layers[static_cast<size_t>(layer)].conv)
            invalid("layer is " + std::to_string(layer) + "; expected the index of a partial convolution");
        *name = layers[static_cast<size_t>(layer)].conv->implementation;
    });
}
