// A pass put in order: every call of it, with its operands.
#include "core/checked.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

constexpr size_t kKeptPasses = 16;

bool same(const TensorRef& a, const TensorRef& b) {
    return a.buffer == b.buffer && a.offset == b.offset && a.strides == b.strides;
}

}  // namespace

std::vector<std::function<void()>> Calls::make(bool with_masks) {
    if (with_masks)
        for (size_t i = 0; i < plan_.layers.size(); ++i) {
            // A layer's planes may be made of each other: those that a window leaves first, in the order of
            // the plan.
            for (size_t p = 0; p < plan_.windowed.size(); ++p) {
                const WindowedPlanes& planes = plan_.windowed[p];
                if (planes.layer != i && !(planes.hole_is_one && i == 0)) continue;
                std::vector<TensorRef> sources;
                for (const MaskSource& source : planes.sources) sources.push_back(planesAt(source));
                add([update = prepared_.windowed[p]->update.get(), sources] { update->compute(sources); });
            }
            for (size_t p = 0; p < plan_.upsampled.size(); ++p)
                if (plan_.upsampled[p].layer == i) upsamplePlanes(p);
            kindOf(layer(i).type).enqueueMasks(*this, i);
        }
    for (size_t i = 0; i < plan_.layers.size(); ++i)
        if (!layer(i).fused) kindOf(layer(i).type).enqueue(*this, i);
    return std::move(calls_);
}

void Calls::upsamplePlanes(size_t index) {
    const UpsampledPlanes& planes = plan_.upsampled[index];
    TensorRef from = planesAt(planes.source);
    int64_t skipped = 0;
    for (size_t d = 0; d < 3; ++d) skipped += planes.begin[d] * from.strides[2 + d];
    from.offset += static_cast<size_t>(skipped) * sizeOf(from.data_type);
    add([device = device(), from, to = planesAt({MaskSource::Kind::upsampled, index}),
         dims = tensorDims(planes.batch, planes.planes, planes.size),
         factor = planes.factor] { device->upsample(from, to, dims, factor); });
}

TensorRef Calls::planesAt(const MaskSource& source) const {
    switch (source.kind) {
        case MaskSource::Kind::network:
            return operands_.mask;
        case MaskSource::Kind::update:
            return prepared_.layers[source.index].update->results.updated_mask;
        case MaskSource::Kind::windowed:
            return prepared_.windowed[source.index]->results.updated_mask;
        case MaskSource::Kind::upsampled: {
            const UpsampledPlanes& planes = plan_.upsampled[source.index];
            Dims3 size = planes.size;
            for (size_t d = 0; d < 3; ++d) size[d] *= planes.factor[d];
            return inMaskArena(planes.offset, planes.data_type,
                               tensorDims(planes.batch, planes.planes, size));
        }
        case MaskSource::Kind::ones:
            break;
    }
    const OnesPlane& ones = plan_.ones[source.index];
    return inMaskArena(ones.offset, ones.data_type, tensorDims(ones.batch, 1, ones.size));
}

std::vector<TensorRef> Calls::planesOf(const TravelingMask& mask) const {
    std::vector<TensorRef> planes;
    for (const MaskPart& part : mask.parts) planes.push_back(planesAt(part.source));
    return planes;
}

TensorRef Calls::inMaskArena(size_t offset, DataType type, const Dims5& dims) const {
    return {prepared_.mask_arena->state.buffer, offset, type, contiguousStrides(dims)};
}

TensorRef Calls::valueAt(size_t index, int64_t first_channel) const {
    const Value& value = plan_.values[index];
    const Store& store = plan_.stores[value.store];
    TensorRef ref;
    if (store.kind == Store::Kind::arena) {
        ref = {prepared_.arena->state.buffer, store.offset, plan_.data_type, {}};
        ref.strides = denseStrides(tensorDims(plan_.batch, store.channels, store.size), store.layout);
    } else {
        ref = store.kind == Store::Kind::input ? operands_.input : operands_.output;
    }
    ref.offset +=
        static_cast<size_t>((value.first_channel + first_channel) * ref.strides[1]) * sizeOf(plan_.data_type);
    return ref;
}

void Calls::addPass(const PassDesc& desc, const TensorRef& input, const TensorRef& output,
                    const LayerState* vectors, const TensorRef& added) {
    PassOperands operands{input, added, {}, {}, output};
    if (vectors != nullptr && vectors->vectors) {
        const TensorRef both{vectors->vectors->state.buffer, 0, DataType::f32, {0, 1, 0, 0, 0}};
        if (vectors->has_scale) operands.scale = both;
        if (vectors->has_shift) operands.shift = both;
        operands.shift.offset = static_cast<size_t>(desc.channels) * sizeof(float);
    }
    add([device = device(), desc, operands] { device->pass(desc, operands); });
}

void Calls::addCopy(size_t value, const TensorRef& to) {
    const Value& source = plan_.values[value];
    add([device = device(), from = valueAt(value), to,
         dims = tensorDims(plan_.batch, source.channels, source.size)] { device->convert(from, to, dims); });
}

Recording& recordedPass(Prepared& prepared, const Operands& operands, bool with_masks) {
    auto& passes = prepared.passes;
    for (auto pass = passes.begin(); pass != passes.end(); ++pass) {
        if (pass->with_masks != with_masks || !same(pass->operands.input, operands.input) ||
            !same(pass->operands.mask, operands.mask) || !same(pass->operands.output, operands.output))
            continue;
        passes.splice(passes.begin(), passes, pass);
        return *passes.front().recording;
    }
    auto calls = Calls(prepared, operands).make(with_masks);
    auto recording = prepared.device->device->record([calls = std::move(calls)] {
        for (const auto& call : calls) call();
    });
    passes.push_front({operands, with_masks, std::move(recording)});
    if (passes.size() > kKeptPasses) passes.pop_back();
    return *passes.front().recording;
}

}  // namespace pconv::network
