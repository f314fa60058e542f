// Mask updates of the C API.
#include "core/mask_update.h"
#include "core/checked.h"
#include "core/descriptor.h"
#include "core/handles.h"
#include "core/implementations.h"
#include "core/operands.h"

using namespace pconv;

namespace {

// The caller's view of a contiguous [N, G, O...] result.
PconvTensor publicView(const TensorRef& tensor, PconvBuffer buffer, const PartialConvDesc& desc,
                       int64_t batch) {
    PconvTensor view{};
    if (tensor.buffer == nullptr) return view;
    view.buffer = buffer;
    view.offset = tensor.offset;
    view.data_type = static_cast<PconvDataType>(tensor.data_type);
    view.rank = desc.spatial_dims + 2;
    const Dims5 all = tensorDims(batch, desc.maskGroups(), desc.window.output);
    view.dims[0] = all[0];
    view.dims[1] = all[1];
    for (int i = 0; i < desc.spatial_dims; ++i)
        view.dims[2 + i] = all[static_cast<size_t>(5 - desc.spatial_dims + i)];
    for (int d = view.rank - 1; d >= 0; --d)
        view.strides[d] = d == view.rank - 1 ? 1 : view.strides[d + 1] * view.dims[d + 1];
    return view;
}

}  // namespace

PconvStatus pconvCreateMaskUpdate(PconvDevice device, const PconvPartialConvDesc* desc, const PconvMask* mask,
                                  PconvMaskUpdate* update) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        notNull(update, "update");
        const MaskForm form = parseMaskForm(parsed, mask);
        *update = makeMaskUpdate(state, parsed, form, pinnedImplementation(*desc), true).release();
    });
}

void pconvReleaseMaskUpdate(PconvMaskUpdate update) {
    delete update;
}

PconvStatus pconvSetMaskUpdateWeights(PconvMaskUpdate update, const PconvTensor* weight) {
    return guarded([&] {
        PconvMaskUpdate_T& object = notNull(update, "update");
        const PartialConvDesc& desc = object.desc;
        if (!desc.maskedConvolution() || desc.mask_type == MaskType::none)
            invalid("update has no weights: it is not of a masked convolution with a mask");
        const Operand w = weightLike(weight, "weight", desc, *object.device);
        const DeviceLock lock(*object.device);
        object.needs_weights = true;
        object.computed = false;
        object.update->setWeights(w.tensor);
        object.needs_weights = false;
    });
}

PconvStatus pconvComputeMaskUpdate(PconvMaskUpdate update, const PconvMask* mask) {
    return guarded([&] {
        PconvMaskUpdate_T& object = notNull(update, "update");
        const MaskForm form = parseMaskForm(object.desc, mask);
        if (!sameForm(form, object.form))
            invalid("mask has another form than the one this update was made for");
        std::vector<TensorRef> planes;
        if (mask != nullptr)
            planes = parsePlanes(*mask, form, object.desc.mask_type, object.desc.spatial_dims,
                                 object.desc.window.input, *object.device);
        const DeviceLock lock(*object.device);
        if (object.needs_weights) invalid("the mask update's weights have not been set");
        object.computed = false;
        object.bytes.unpack(*object.device->device, planes);
        object.update->compute(planes);
        object.computed = true;
    });
}

PconvStatus pconvGetMaskUpdateTensors(PconvMaskUpdate update, PconvTensor* window_sum,
                                      PconvTensor* updated_mask, PconvTensor* ratio) {
    return guarded([&] {
        const PconvMaskUpdate_T& object = notNull(update, "update");
        const auto give = [&](PconvTensor* view, const TensorRef& tensor) {
            if (view == nullptr) return;
            *view = tensor.buffer == nullptr
                        ? PconvTensor{}
                        : publicView(tensor, object.buffer.get(), object.desc, object.form.batch);
        };
        give(window_sum, object.results.window_sum);
        give(updated_mask, object.results.updated_mask);
        give(ratio, object.results.ratio);
    });
}
