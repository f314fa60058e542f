#include "core/operands.h"

namespace pconv {

Operand inputLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                  const DeviceState& device) {
    const Dims5 size = tensorDims(desc.batch, desc.in_channels, desc.window.input);
    return {
        name, size,
        parseTensor(tensor, {name, desc.data_type, desc.spatial_dims, size, unitStride(desc.input_layout)},
                    device)};
}

Operand outputLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                   const DeviceState& device) {
    const Dims5 size = tensorDims(desc.batch, desc.out_channels, desc.window.output);
    return {
        name, size,
        parseTensor(tensor, {name, desc.data_type, desc.spatial_dims, size, unitStride(desc.output_layout)},
                    device)};
}

Operand weightLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                   const DeviceState& device) {
    const Dims5 size = tensorDims(desc.out_channels, desc.in_channels / desc.groups, desc.window.kernel);
    Operand operand{
        name, size,
        parseTensor(tensor, {name, desc.data_type, desc.spatial_dims, size, UnitStride::last}, device)};
    checkContiguous(operand.tensor, size, name);
    return operand;
}

Operand biasLike(const PconvTensor* tensor, const char* name, const PartialConvDesc& desc,
                 const DeviceState& device) {
    return {name,
            {1, 1, 1, 1, desc.out_channels},
            parseVector(tensor, name, desc.data_type, desc.out_channels, device)};
}

void checkApart(const Operand& a, const Operand& b) {
    if (mayOverlap(a.tensor, a.dims, b.tensor, b.dims))
        invalid(std::string(a.name) + " and " + b.name + " overlap");
}

std::vector<TensorRef> parsePlanes(const PconvMask& mask, const MaskForm& form, MaskType type,
                                   int spatial_dims, const Dims3& size, const DeviceState& device) {
    std::vector<TensorRef> planes;
    for (size_t i = 0; i < form.segments.size(); ++i) {
        const std::string name = "mask segment " + std::to_string(i);
        const DataType bytes = type == MaskType::binary ? DataType::u8 : DataType::f32;
        planes.push_back(
            parseTensor(&mask.segments[i].planes,
                        {name.c_str(), form.segments[i].bits ? DataType::bits : bytes, spatial_dims,
                         tensorDims(form.batch, form.segments[i].planes, size), UnitStride::last},
                        device));
    }
    return planes;
}

bool sameForm(const MaskForm& a, const MaskForm& b) {
    bool same =
        a.batch == b.batch && a.hole_is_one == b.hole_is_one && a.segments.size() == b.segments.size();
    for (size_t i = 0; same && i < a.segments.size(); ++i)
        same = a.segments[i].planes == b.segments[i].planes && a.segments[i].bits == b.segments[i].bits &&
               a.segments[i].multiplicity == b.segments[i].multiplicity;
    return same;
}

}  // namespace pconv
