// Masked batch normalization and masked spatial mean of the C API.
#include <cmath>

#include "core/checked.h"
#include "core/descriptor.h"
#include "core/handles.h"
#include "core/operands.h"

using namespace pconv;

namespace {

template <typename Operator>
struct NormObject {
    std::shared_ptr<DeviceState> device;
    MaskedNormDesc desc;
    std::unique_ptr<Operator> operation;
    BytePlanes bytes;
    NormObject(std::shared_ptr<DeviceState> state, MaskedNormDesc parsed, std::unique_ptr<Operator> made,
               BytePlanes planes)
        : device(std::move(state)),
          desc(std::move(parsed)),
          operation(std::move(made)),
          bytes(std::move(planes)) {}
    NormObject(const NormObject&) = delete;
    NormObject& operator=(const NormObject&) = delete;
    ~NormObject() { releaseOn(*device, operation, bytes); }
};

}  // namespace

struct PconvMaskedBatchNorm_T final : NormObject<MaskedBatchNorm> {
    using NormObject::NormObject;
};
struct PconvMaskedSpatialMean_T final : NormObject<MaskedSpatialMean> {
    using NormObject::NormObject;
};

namespace {

// The mask of C channels over x is that of a convolution with a window of one.
PartialConvDesc windowOfOne(const PconvMaskedNormDesc& desc) {
    PconvPartialConvDesc conv = pconvDefaultPartialConvDesc(desc.spatial_dims);
    conv.batch = desc.batch;
    conv.in_channels = desc.channels;
    std::copy(desc.size, desc.size + PCONV_MAX_SPATIAL_DIMS, conv.input_size);
    // As bytes: reading an enumeration that is none of its enumerators is undefined.
    std::memcpy(&conv.data_type, &desc.data_type, sizeof conv.data_type);
    std::memcpy(&conv.input_layout, &desc.layout, sizeof conv.input_layout);
    std::memcpy(&conv.mask_type, &desc.mask_type, sizeof conv.mask_type);
    conv.mask_mode = PCONV_MASK_MODE_MULTI_CHANNEL;
    conv.eps = desc.eps;
    return parsePartialConvDesc(&conv);
}

MaskedNormDesc parseNormDesc(const PconvMaskedNormDesc* caller, const PconvMask* mask) {
    const PconvMaskedNormDesc desc = copyVersioned(caller, pconvDefaultMaskedNormDesc(2), "desc");
    const PartialConvDesc conv = windowOfOne(desc);
    if (!(desc.momentum >= 0 && desc.momentum <= 1)) invalid("momentum is not in 0 to 1");
    MaskedNormDesc result;
    result.spatial_dims = conv.spatial_dims;
    result.batch = conv.batch;
    result.channels = conv.in_channels;
    result.size = conv.window.input;
    result.data_type = conv.data_type;
    result.layout = conv.input_layout;
    result.mask_type = conv.mask_type;
    result.form = parseMaskForm(conv, mask);
    result.eps = conv.eps;
    result.training = desc.training != 0;
    result.momentum = static_cast<float>(desc.momentum);
    return result;
}

// The planes of a mask of the prepared form; none where there is no mask.
std::vector<TensorRef> checkedPlanes(const PconvMask* mask, const MaskedNormDesc& desc,
                                     const DeviceState& device) {
    PartialConvDesc conv;
    conv.spatial_dims = desc.spatial_dims;
    conv.batch = desc.batch;
    conv.in_channels = desc.channels;
    conv.window.input = desc.size;
    conv.mask_type = desc.mask_type;
    conv.multi_channel = true;
    const MaskForm form = parseMaskForm(conv, mask);
    if (!sameForm(form, desc.form)) invalid("mask has another form than the one this operator was made for");
    if (mask == nullptr) return {};
    return parsePlanes(*mask, form, desc.mask_type, desc.spatial_dims, desc.size, device);
}

Operand checkedTensor(const PconvTensor* tensor, const char* name, const MaskedNormDesc& desc,
                      const DeviceState& device) {
    const Dims5 size = tensorDims(desc.batch, desc.channels, desc.size);
    return {name, size,
            parseTensor(tensor, {name, desc.data_type, desc.spatial_dims, size, unitStride(desc.layout)},
                        device)};
}

// A contiguous [rows, channels] result.
Operand checkedMatrix(const PconvTensor* tensor, const char* name, DataType type, int64_t rows,
                      int64_t channels, const DeviceState& device) {
    const Dims5 size{rows, channels, 1, 1, 1};
    Operand operand{name, size, parseTensor(tensor, {name, type, 0, size, UnitStride::channels}, device)};
    checkContiguous(operand.tensor, size, name);
    return operand;
}

BatchNormParameters parseParameters(const PconvBatchNormParameters* caller, const MaskedNormDesc& desc,
                                    const DeviceState& device) {
    const PconvBatchNormParameters given =
        copyVersioned(caller, pconvDefaultBatchNormParameters(), "parameters");
    if ((given.weight == nullptr) != (given.bias == nullptr))
        invalid("weight and bias: expected both or neither");
    if ((given.running_mean == nullptr) != (given.running_var == nullptr))
        invalid("running_mean and running_var: expected both or neither");
    if (!desc.training && given.running_mean == nullptr)
        invalid("running_mean and running_var are null; expected both without training");
    const auto vector = [&](const PconvTensor* tensor, const char* name) {
        return tensor == nullptr ? TensorRef{}
                                 : parseVector(tensor, name, DataType::f32, desc.channels, device);
    };
    return {vector(given.weight, "weight"), vector(given.bias, "bias"),
            vector(given.running_mean, "running_mean"), vector(given.running_var, "running_var")};
}

// `make` is the device's function that makes the operator.
template <typename Object, typename Make>
PconvStatus createNorm(PconvDevice device, const PconvMaskedNormDesc* desc, const PconvMask* mask,
                       Object** object, const char* name, Make make) {
    return guarded([&] {
        const auto& state = notNull(device, "device").state;
        MaskedNormDesc parsed = parseNormDesc(desc, mask);
        notNull(object, name);
        const DeviceLock lock(*state);
        auto made = (state->device.get()->*make)(parsed);
        BytePlanes bytes(*state->device, parsed.form, parsed.size);
        *object = new Object(state, std::move(parsed), std::move(made), std::move(bytes));
    });
}

}  // namespace

PconvStatus pconvCreateMaskedBatchNorm(PconvDevice device, const PconvMaskedNormDesc* desc,
                                       const PconvMask* mask, PconvMaskedBatchNorm* norm) {
    return createNorm(device, desc, mask, norm, "norm", &Device::makeMaskedBatchNorm);
}

void pconvReleaseMaskedBatchNorm(PconvMaskedBatchNorm norm) {
    delete norm;
}

PconvStatus pconvForwardMaskedBatchNorm(PconvMaskedBatchNorm norm, const PconvMask* mask,
                                        const PconvTensor* input, const PconvBatchNormParameters* parameters,
                                        const PconvTensor* output) {
    return guarded([&] {
        const PconvMaskedBatchNorm_T& object = notNull(norm, "norm");
        const DeviceState& device = *object.device;
        std::vector<TensorRef> planes = checkedPlanes(mask, object.desc, device);
        const Operand in = checkedTensor(input, "input", object.desc, device);
        const Operand out = checkedTensor(output, "output", object.desc, device);
        const bool in_place = in.tensor.buffer == out.tensor.buffer &&
                              in.tensor.offset == out.tensor.offset &&
                              in.tensor.strides == out.tensor.strides;
        if (!in_place) checkApart(in, out);
        const BatchNormParameters values = parseParameters(parameters, object.desc, device);
        const DeviceLock lock(*object.device);
        object.bytes.unpack(*device.device, planes);
        object.operation->forward(planes, in.tensor, values, out.tensor);
    });
}

PconvStatus pconvCreateMaskedSpatialMean(PconvDevice device, const PconvMaskedNormDesc* desc,
                                         const PconvMask* mask, PconvMaskedSpatialMean* mean) {
    return createNorm(device, desc, mask, mean, "mean", &Device::makeMaskedSpatialMean);
}

void pconvReleaseMaskedSpatialMean(PconvMaskedSpatialMean mean) {
    delete mean;
}

PconvStatus pconvForwardMaskedSpatialMean(PconvMaskedSpatialMean mean, const PconvMask* mask,
                                          const PconvTensor* input, const PconvTensor* output,
                                          const PconvTensor* output_mask) {
    return guarded([&] {
        const PconvMaskedSpatialMean_T& object = notNull(mean, "mean");
        const MaskedNormDesc& desc = object.desc;
        const DeviceState& device = *object.device;
        std::vector<TensorRef> planes = checkedPlanes(mask, desc, device);
        const Operand in = checkedTensor(input, "input", desc, device);
        const Operand out =
            checkedMatrix(output, "output", desc.data_type, desc.batch, desc.channels, device);
        checkApart(in, out);
        Operand out_mask;
        if (output_mask != nullptr) {
            if (planes.empty())
                invalid("output_mask is given; expected null where mask_type is PCONV_MASK_TYPE_NONE");
            out_mask = checkedMatrix(output_mask, "output_mask", DataType::f32, desc.form.batch,
                                     desc.channels, device);
            checkApart(in, out_mask);
            checkApart(out, out_mask);
        }
        const DeviceLock lock(*object.device);
        object.bytes.unpack(*device.device, planes);
        object.operation->forward(planes, in.tensor, out.tensor, out_mask.tensor);
    });
}
