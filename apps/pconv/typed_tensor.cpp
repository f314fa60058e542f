#include "typed_tensor.h"

namespace pconv::app {

Tensor tensorOf(PconvDataType type, const Device& device, const std::vector<int64_t>& dims,
                const std::vector<float>& values) {
    Tensor exact(device, dims, values);
    if (type == PCONV_DATA_TYPE_F32) return exact;
    Tensor rounded(device, dims, type);
    convert(exact.view(), rounded.view());
    return rounded;
}

std::vector<float> floatsOf(const Device& device, const Tensor& tensor) {
    if (tensor.view().data_type == PCONV_DATA_TYPE_F32) return tensor.read<float>();
    const Tensor exact(device, tensor.dims());
    convert(tensor.view(), exact.view());
    return exact.read<float>();
}

std::vector<float> maskValuesOf(const PconvTensor& planes) {
    std::size_t count = 1;
    for (int32_t i = 0; i < planes.rank; ++i) count *= static_cast<std::size_t>(planes.dims[i]);
    std::vector<float> values(count);
    if (planes.data_type == PCONV_DATA_TYPE_F32) {
        detail::check(pconvReadBuffer(planes.buffer, planes.offset, values.data(), count * sizeof(float)));
        return values;
    }
    std::vector<uint8_t> bytes(count);
    detail::check(pconvReadBuffer(planes.buffer, planes.offset, bytes.data(), count));
    for (std::size_t i = 0; i < count; ++i) values[i] = bytes[i] != 0 ? 1.0F : 0.0F;
    return values;
}

}  // namespace pconv::app
