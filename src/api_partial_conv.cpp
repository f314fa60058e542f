// Implementations, mask updates and partial convolutions of the C API.
#include "checked.h"
#include "descriptor.h"
#include "handles.h"
#include "tensor.h"

using namespace pconv;

PconvMaskUpdate_T::~PconvMaskUpdate_T() {
    const DeviceLock lock(device->mutex);
    update.reset();
    results = {};
}

PconvPartialConv_T::~PconvPartialConv_T() {
    const DeviceLock lock(device->mutex);
    conv.reset();
}

namespace {

Dims5 dims(int64_t n, int64_t c, const Dims3& size) {
    return {n, c, size[0], size[1], size[2]};
}

bool rowSupports(const Implementation& row, const Device& device, const PartialConvDesc& desc,
                 std::string& reason) {
    if (desc.training && !row.trains()) {
        reason = "no backward pass";
        return false;
    }
    return row.supports(device, desc, reason);
}

// The first row that supports `desc`, or the pinned one; each row that declines says why.
const Implementation& choose(const DeviceState& state, const PartialConvDesc& desc,
                             const std::string& pinned) {
    std::string declined;
    std::string names;
    for (const Implementation* row : state.device->implementations()) {
        names += (names.empty() ? "" : ", ") + std::string(row->name());
        if (!pinned.empty() && pinned != row->name()) continue;
        std::string reason;
        if (rowSupports(*row, *state.device, desc, reason)) return *row;
        declined += (declined.empty() ? "" : "; ") + std::string(row->name()) + ": " + reason;
    }
    if (declined.empty())
        fail(PCONV_ERROR_UNSUPPORTED, "no implementation '" + pinned + "' on this device; it has " + names);
    fail(PCONV_ERROR_UNSUPPORTED, "not supported by this device: " + declined);
}

std::string describe(const PartialConvDesc& desc) {
    const auto list = [&](const Dims3& values) {
        std::string text;
        for (size_t d = static_cast<size_t>(3 - desc.spatial_dims); d < 3; ++d)
            text += (text.empty() ? "" : "x") + std::to_string(values[d]);
        return text;
    };
    const Window& w = desc.window;
    return std::to_string(desc.batch) + "x" + std::to_string(desc.in_channels) + "x" + list(w.input) +
           " to " + std::to_string(desc.out_channels) + " channels, kernel " + list(w.kernel) + " stride " +
           list(w.stride) + " padding " + list(w.padding) + " dilation " + list(w.dilation) + " groups " +
           std::to_string(desc.groups);
}

// The caller's view of a contiguous [N, G, O...] result.
PconvTensor publicView(const TensorRef& tensor, PconvBuffer buffer, const PartialConvDesc& desc,
                       int64_t batch) {
    PconvTensor view{};
    view.buffer = buffer;
    view.offset = tensor.offset;
    view.data_type = static_cast<PconvDataType>(tensor.data_type);
    view.rank = desc.spatial_dims + 2;
    const Dims5 all = dims(batch, desc.maskGroups(), desc.window.output);
    view.dims[0] = all[0];
    view.dims[1] = all[1];
    for (int i = 0; i < desc.spatial_dims; ++i)
        view.dims[2 + i] = all[static_cast<size_t>(5 - desc.spatial_dims + i)];
    for (int d = view.rank - 1; d >= 0; --d)
        view.strides[d] = d == view.rank - 1 ? 1 : view.strides[d + 1] * view.dims[d + 1];
    return view;
}

std::unique_ptr<PconvMaskUpdate_T> makeUpdate(const std::shared_ptr<DeviceState>& state,
                                              const PartialConvDesc& desc, const MaskForm& form,
                                              const std::string& pinned) {
    constexpr size_t kAlign = 256;
    const Dims5 size = dims(form.batch, desc.maskGroups(), desc.window.output);
    int64_t count = 1;
    for (const int64_t d : size) count = checkedProduct(count, d, "the updated mask");
    const size_t plane =
        (static_cast<size_t>(checkedProduct(count, 16, "the updated mask")) / 4 + kAlign - 1) / kAlign *
        kAlign;
    const DataType mask_type = desc.mask_type == MaskType::fractional ? DataType::f32 : DataType::u8;

    const DeviceLock lock(state->mutex);
    const Implementation& row = choose(*state, desc, pinned);
    std::shared_ptr<Buffer> memory =
        state->device->allocate(2 * plane + static_cast<size_t>(count) * sizeOf(mask_type));
    const Dims5 strides = contiguousStrides(size);
    MaskPlanes results{{memory, 0, DataType::f32, strides},
                       {memory, 2 * plane, mask_type, strides},
                       {memory, plane, DataType::f32, strides}};
    auto update = row.makeMaskUpdate(*state->device, desc, form, results);
    std::unique_ptr<PconvBuffer_T> buffer(new PconvBuffer_T{{state, std::move(memory)}});
    return std::unique_ptr<PconvMaskUpdate_T>(new PconvMaskUpdate_T{
        state, desc, form, std::move(buffer), std::move(results), std::move(update), false});
}

std::vector<TensorRef> parsePlanes(const PconvMaskUpdate_T& update, const PconvMask* mask) {
    const PartialConvDesc& desc = update.desc;
    const MaskForm form = parseMaskForm(desc, mask);
    std::vector<TensorRef> planes;
    bool same = form.batch == update.form.batch && form.hole_is_one == update.form.hole_is_one &&
                form.segments.size() == update.form.segments.size();
    for (size_t i = 0; same && i < form.segments.size(); ++i)
        same = form.segments[i].planes == update.form.segments[i].planes &&
               form.segments[i].multiplicity == update.form.segments[i].multiplicity;
    if (!same) invalid("mask has another form than the one this update was made for");
    const DataType type = desc.mask_type == MaskType::binary ? DataType::u8 : DataType::f32;
    for (size_t i = 0; i < form.segments.size(); ++i) {
        const std::string name = "mask segment " + std::to_string(i);
        planes.push_back(
            parseTensor(&mask->segments[i].planes,
                        {name.c_str(), type, desc.spatial_dims,
                         dims(form.batch, form.segments[i].planes, desc.window.input), UnitStride::last},
                        *update.device));
    }
    return planes;
}

}  // namespace

PconvStatus pconvGetOutputSize(const PconvPartialConvDesc* desc,
                               int64_t output_size[PCONV_MAX_SPATIAL_DIMS]) {
    return guarded([&] {
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        notNull(output_size, "output_size");
        for (int i = 0; i < PCONV_MAX_SPATIAL_DIMS; ++i)
            output_size[i] = i < parsed.spatial_dims
                                 ? parsed.window.output[static_cast<size_t>(3 - parsed.spatial_dims + i)]
                                 : 1;
    });
}

PconvStatus pconvGetImplementationCount(PconvDevice device, int32_t* count) {
    return guarded([&] {
        const auto& rows = notNull(device, "device").state->device->implementations();
        notNull(count, "count") = static_cast<int32_t>(rows.size());
    });
}

PconvStatus pconvGetImplementationInfo(PconvDevice device, int32_t index, const PconvPartialConvDesc* desc,
                                       PconvImplementationInfo* info) {
    return guarded([&] {
        DeviceState& state = *notNull(device, "device").state;
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        const auto& rows = state.device->implementations();
        if (index < 0 || static_cast<size_t>(index) >= rows.size())
            invalid("index is " + std::to_string(index) + "; there are " + std::to_string(rows.size()) +
                    " implementations");
        PconvImplementationInfo result = pconvDefaultImplementationInfo();
        std::string reason;
        const DeviceLock lock(state.mutex);
        const Implementation& row = *rows[static_cast<size_t>(index)];
        copyText(result.name, row.name());
        result.supported = rowSupports(row, *state.device, parsed, reason) ? 1 : 0;
        if (result.supported == 0) copyText(result.reason, reason);
        storeVersioned(result, info, "info");
    });
}

PconvStatus pconvCreateMaskUpdate(PconvDevice device, const PconvPartialConvDesc* desc, const PconvMask* mask,
                                  PconvMaskUpdate* update) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        notNull(update, "update");
        const MaskForm form = parseMaskForm(parsed, mask);
        *update = makeUpdate(state, parsed, form, pinnedImplementation(*desc)).release();
    });
}

void pconvReleaseMaskUpdate(PconvMaskUpdate update) {
    delete update;
}

PconvStatus pconvComputeMaskUpdate(PconvMaskUpdate update, const PconvMask* mask) {
    return guarded([&] {
        PconvMaskUpdate_T& object = notNull(update, "update");
        const std::vector<TensorRef> planes = parsePlanes(object, mask);
        const DeviceLock lock(object.device->mutex);
        object.computed = false;
        object.update->compute(planes);
        object.computed = true;
    });
}

PconvStatus pconvGetMaskUpdateTensors(PconvMaskUpdate update, PconvTensor* window_sum,
                                      PconvTensor* updated_mask, PconvTensor* ratio) {
    return guarded([&] {
        const PconvMaskUpdate_T& object = notNull(update, "update");
        const auto give = [&](PconvTensor* view, const TensorRef& tensor) {
            if (view != nullptr)
                *view = publicView(tensor, object.buffer.get(), object.desc, object.form.batch);
        };
        give(window_sum, object.results.window_sum);
        give(updated_mask, object.results.updated_mask);
        give(ratio, object.results.ratio);
    });
}

PconvStatus pconvCreatePartialConv(PconvDevice device, const PconvPartialConvDesc* desc,
                                   PconvPartialConv* conv) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        const PartialConvDesc parsed = parsePartialConvDesc(desc);
        notNull(conv, "conv");
        const std::string pinned = pinnedImplementation(*desc);
        const DeviceLock lock(state->mutex);
        const Implementation& row = choose(*state, parsed, pinned);
        if (state->host->verbosity() >= 1)
            state->host->message(std::string(row.name()) + (pinned.empty() ? "" : " (pinned)") + " for " +
                                 describe(parsed));
        auto made = row.makePartialConv(*state->device, parsed);
        *conv = new PconvPartialConv_T{state, parsed, row.name(), std::move(made), false};
    });
}

void pconvReleasePartialConv(PconvPartialConv conv) {
    delete conv;
}

PconvStatus pconvGetPartialConvImplementation(PconvPartialConv conv, const char** name) {
    return guarded([&] { notNull(name, "name") = notNull(conv, "conv").implementation; });
}

namespace {

UnitStride unitStride(Layout layout) {
    return layout == Layout::contiguous ? UnitStride::last : UnitStride::channels;
}

void checkUpdate(const PconvPartialConv_T& conv, const PconvMaskUpdate_T& update) {
    if (update.device != conv.device) invalid("update lies on another device");
    if (!sameMaskSide(conv.desc, update.desc))
        invalid("update was made for another window or mask setting than this convolution's");
}

// Called under the device's lock.
void checkReady(const PconvPartialConv_T& conv, const PconvMaskUpdate_T& update) {
    if (!conv.has_weights) invalid("the weights have not been set");
    if (!update.computed) invalid("the mask update has not been computed");
}

// A view with the dims it was checked for, to tell overlaps.
struct Operand {
    const char* name;
    Dims5 dims;
    TensorRef tensor;
};

Operand inputLike(const PconvTensor* tensor, const char* name, const PconvPartialConv_T& conv) {
    const PartialConvDesc& d = conv.desc;
    const Dims5 size = dims(d.batch, d.in_channels, d.window.input);
    return {name, size,
            parseTensor(tensor, {name, d.data_type, d.spatial_dims, size, unitStride(d.input_layout)},
                        *conv.device)};
}

Operand outputLike(const PconvTensor* tensor, const char* name, const PconvPartialConv_T& conv) {
    const PartialConvDesc& d = conv.desc;
    const Dims5 size = dims(d.batch, d.out_channels, d.window.output);
    return {name, size,
            parseTensor(tensor, {name, d.data_type, d.spatial_dims, size, unitStride(d.output_layout)},
                        *conv.device)};
}

Operand weightLike(const PconvTensor* tensor, const char* name, const PconvPartialConv_T& conv) {
    const PartialConvDesc& d = conv.desc;
    const Dims5 size = dims(d.out_channels, d.in_channels / d.groups, d.window.kernel);
    Operand operand{
        name, size,
        parseTensor(tensor, {name, d.data_type, d.spatial_dims, size, UnitStride::last}, *conv.device)};
    checkContiguous(operand.tensor, size, name);
    return operand;
}

Operand biasLike(const PconvTensor* tensor, const char* name, const PconvPartialConv_T& conv) {
    const PartialConvDesc& d = conv.desc;
    return {name,
            {1, 1, 1, 1, d.out_channels},
            parseVector(tensor, name, d.data_type, d.out_channels, *conv.device)};
}

void checkApart(const Operand& a, const Operand& b) {
    if (mayOverlap(a.tensor, a.dims, b.tensor, b.dims))
        invalid(std::string(a.name) + " and " + b.name + " overlap");
}

}  // namespace

PconvStatus pconvSetPartialConvWeights(PconvPartialConv conv, const PconvTensor* weight,
                                       const PconvTensor* bias) {
    return guarded([&] {
        PconvPartialConv_T& object = notNull(conv, "conv");
        const Operand w = weightLike(weight, "weight", object);
        const bool has_bias = object.desc.has_bias;
        if (!has_bias && bias != nullptr) invalid("bias is given; expected null where has_bias is 0");
        Operand b{};
        if (has_bias) b = biasLike(bias, "bias", object);
        const DeviceLock lock(object.device->mutex);
        object.has_weights = false;
        object.conv->setWeights(w.tensor, has_bias ? &b.tensor : nullptr);
        object.has_weights = true;
    });
}

PconvStatus pconvForwardPartialConv(PconvPartialConv conv, PconvMaskUpdate update, const PconvTensor* input,
                                    const PconvTensor* output) {
    return guarded([&] {
        PconvPartialConv_T& object = notNull(conv, "conv");
        PconvMaskUpdate_T& mask = notNull(update, "update");
        checkUpdate(object, mask);
        const Operand in = inputLike(input, "input", object);
        const Operand out = outputLike(output, "output", object);
        checkApart(in, out);
        const DeviceLock lock(object.device->mutex);
        checkReady(object, mask);
        object.conv->forward(*mask.update, in.tensor, out.tensor);
    });
}

PconvStatus pconvBackwardPartialConv(PconvPartialConv conv, PconvMaskUpdate update, const PconvTensor* input,
                                     const PconvTensor* grad_output, const PconvGradients* gradients) {
    return guarded([&] {
        PconvPartialConv_T& object = notNull(conv, "conv");
        PconvMaskUpdate_T& mask = notNull(update, "update");
        if (!object.desc.training) invalid("the convolution was made without training");
        checkUpdate(object, mask);
        const PconvGradients wanted = copyVersioned(gradients, pconvDefaultGradients(), "gradients");
        std::vector<Operand> operands{inputLike(input, "input", object),
                                      outputLike(grad_output, "grad_output", object)};
        operands.reserve(5);  // the gradients below point into it
        Gradients results;
        results.accumulate = wanted.accumulate != 0;
        const auto add = [&](Operand operand) {
            for (const Operand& other : operands) checkApart(operand, other);
            operands.push_back(std::move(operand));
            return &operands.back().tensor;
        };
        if (wanted.grad_input != nullptr)
            results.input = add(inputLike(wanted.grad_input, "grad_input", object));
        if (wanted.grad_weight != nullptr)
            results.weight = add(weightLike(wanted.grad_weight, "grad_weight", object));
        if (wanted.grad_bias != nullptr) {
            if (!object.desc.has_bias) invalid("grad_bias is given; expected null where has_bias is 0");
            results.bias = add(biasLike(wanted.grad_bias, "grad_bias", object));
        }
        const DeviceLock lock(object.device->mutex);
        checkReady(object, mask);
        object.conv->backward(*mask.update, operands[0].tensor, operands[1].tensor, results);
    });
}
