// Conversion between data types and strides in the C API.
#include "core/checked.h"
#include "core/handles.h"
#include "core/operands.h"

using namespace pconv;

namespace {

// The view with leading dimensions of one: N, C and up to three more.
PconvTensor withTwoDims(const PconvTensor& tensor) {
    PconvTensor result = tensor;
    if (tensor.rank != 1) return result;
    result.rank = 2;
    result.dims[1] = tensor.dims[0];
    result.dims[0] = 1;
    result.strides[1] = tensor.strides[0];
    result.strides[0] = tensor.strides[0] == 0 ? 0 : 1;
    return result;
}

DataType floatType(const PconvTensor& tensor, const std::string& name) {
    const auto number = static_cast<int64_t>(tensor.data_type);
    if (number < PCONV_DATA_TYPE_F32 || number > PCONV_DATA_TYPE_BF16)
        invalid(name + " has the wrong data type; expected F32, F16 or BF16");
    return static_cast<DataType>(number);
}

Operand parse(const PconvTensor& caller, const char* name, const PconvTensor& like,
              const DeviceState& device) {
    const PconvTensor tensor = withTwoDims(caller);
    Dims5 dims{1, 1, 1, 1, 1};
    dims[0] = like.dims[0];
    dims[1] = like.dims[1];
    for (int i = 2; i < like.rank; ++i) dims[static_cast<size_t>(5 - like.rank + i)] = like.dims[i];
    for (const int64_t d : dims)
        if (d < 1 || d > kMaxSize) invalid(std::string(name) + " has a dimension of " + std::to_string(d));
    return {
        name, dims,
        parseTensor(&tensor, {name, floatType(caller, name), like.rank - 2, dims, UnitStride::any}, device)};
}

}  // namespace

PconvStatus pconvConvertTensor(const PconvTensor* source, const PconvTensor* destination) {
    return guarded([&] {
        notNull(destination, "destination");
        if (notNull(source, "source").rank < 1 || source->rank > PCONV_MAX_DIMS)
            invalid("source has " + std::to_string(source->rank) + " dimensions; expected 1 to 5");
        if (source->buffer == nullptr) invalid("source has no buffer");
        DeviceState& device = *source->buffer->state.device;
        const PconvTensor like = withTwoDims(*source);
        const Operand from = parse(*source, "source", like, device);
        const Operand to = parse(*destination, "destination", like, device);
        checkApart(from, to);
        const DeviceLock lock(device);
        device.device->convert(from.tensor, to.tensor, from.dims);
    });
}
