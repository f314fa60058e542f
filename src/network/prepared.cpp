#include "network/prepared.h"

#include "core/checked.h"
#include "core/descriptor.h"
#include "core/partial_conv.h"
#include "network/layer_kind.h"

namespace pconv::network {

namespace {

using MaskKind = MaskSource::Kind;

DataType maskType(const PconvPartialConvDesc& desc) {
    return planeType(static_cast<MaskType>(desc.mask_type));
}

OwnedMaskUpdate makeWindowed(PconvDevice device, const Plan& plan, const WindowedPlanes& planes) {
    Dims3 size{1, 1, 1};
    for (int i = 0; i < plan.spatial_dims; ++i)
        size[firstDim(plan.spatial_dims) + static_cast<size_t>(i)] = planes.desc.input_size[i];
    const int64_t each = planes.desc.in_channels / static_cast<int64_t>(planes.sources.size());
    const std::vector<PconvMaskSegment> segments(
        planes.sources.size(),
        {planesOf(plan, planes.batch, each, size, maskType(planes.desc), nullptr, 0), 1});
    PconvMask form = pconvDefaultMask();
    if (planes.hole_is_one) form.polarity = PCONV_MASK_HOLE_IS_ONE;
    form.segment_count = static_cast<int32_t>(segments.size());
    form.segments = segments.data();
    PconvMaskUpdate update = nullptr;
    check(pconvCreateMaskUpdate(device, &planes.desc, &form, &update));
    return OwnedMaskUpdate(update);
}

void writeOnes(const Prepared& prepared, const OnesPlane& plane) {
    const auto count = static_cast<size_t>(plane.batch) * static_cast<size_t>(volume(plane.size));
    if (plane.data_type == DataType::u8) {
        const std::vector<uint8_t> ones(count, 1);
        check(pconvWriteBuffer(prepared.mask_arena.get(), plane.offset, ones.data(), count));
    } else {
        const std::vector<float> ones(count, 1.0F);
        check(pconvWriteBuffer(prepared.mask_arena.get(), plane.offset, ones.data(), count * sizeof(float)));
    }
}

}  // namespace

Prepared::~Prepared() {
    if (!device) return;
    std::vector<std::unique_ptr<MaskedBatchNorm>> norms;
    for (LayerState& layer : layers) norms.push_back(std::move(layer.norm));
    releaseOn(*device, passes, norms);
}

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
        tensor.dims[2 + i] = size[firstDim(plan.spatial_dims) + static_cast<size_t>(i)];
    return tensor;
}

DataType planeType(MaskType type) {
    return type == MaskType::fractional ? DataType::f32 : DataType::u8;
}

OwnedBuffer makeBuffer(PconvDevice device, size_t bytes) {
    PconvBuffer buffer = nullptr;
    if (bytes > 0) check(pconvCreateBuffer(device, bytes, &buffer));
    return OwnedBuffer(buffer);
}

std::unique_ptr<Prepared> prepare(PconvDevice device, const Description& description) {
    auto made = std::make_unique<Prepared>();
    made->device = device->state;
    const auto fuses = [&](const PartialConvDesc& desc, const std::string& implementation) {
        PconvPartialConvDesc pinned = pconvDefaultPartialConvDesc(desc.spatial_dims);
        if (!implementation.empty()) pinned.implementation = implementation.c_str();
        return fusesUpsampling(*device->state, desc, pinnedImplementation(pinned));
    };
    made->plan = makePlan(description, device->state->device->preferredLayout(), fuses);
    const Plan& plan = made->plan;
    made->layers.resize(plan.layers.size());
    for (size_t i = 0; i < plan.layers.size(); ++i) {
        try {
            kindOf(plan.layers[i].type).make(device, *made, i);
        } catch (const Error& error) {
            fail(error.status(), layerName(plan.layers[i], i) + ": " + error.what());
        }
    }
    for (const WindowedPlanes& planes : plan.windowed)
        made->windowed.push_back(makeWindowed(device, plan, planes));
    made->mask_arena = makeBuffer(device, plan.mask_bytes);
    for (const OnesPlane& plane : plan.ones) writeOnes(*made, plane);
    return made;
}

}  // namespace pconv::network
