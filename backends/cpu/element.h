// Elements of tensors of any type, one at a time: what the oracle and the small operators read and write
// with.
#pragma once

#include <cmath>

#include "core/half.h"
#include "cpu/device.h"

namespace pconv::cpu {

inline double load(const TensorRef& t, int64_t i) {
    switch (t.data_type) {
        case DataType::f32:
            return static_cast<double>(pointer<float>(t)[i]);
        case DataType::f16:
            return static_cast<double>(floatFromF16(pointer<uint16_t>(t)[i]));
        case DataType::bf16:
            return static_cast<double>(floatFromBf16(pointer<uint16_t>(t)[i]));
        case DataType::u8:
        case DataType::bits:  // the core lets none through
            break;
    }
    return pointer<uint8_t>(t)[i] != 0 ? 1 : 0;
}

// Where there are such: as many as `to` has.
inline void loadAll(const TensorRef* from, std::vector<float>& to) {
    if (from == nullptr) return;
    for (size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(load(*from, static_cast<int64_t>(i)));
}

inline void store(const TensorRef& t, int64_t i, double value) {
    const auto single = static_cast<float>(value);
    switch (t.data_type) {
        case DataType::f32:
            pointer<float>(t)[i] = single;
            return;
        case DataType::f16:
            pointer<uint16_t>(t)[i] = f16FromFloat(single);
            return;
        case DataType::bf16:
            pointer<uint16_t>(t)[i] = bf16FromFloat(single);
            return;
        case DataType::u8:
            pointer<uint8_t>(t)[i] = value > 0 ? 1 : 0;
            return;
        case DataType::bits:
            return;  // the core lets none through
    }
}

inline int64_t elementIndex(const TensorRef& t, int64_t n, int64_t c, const Dims3& p) {
    return n * t.strides[0] + c * t.strides[1] + p[0] * t.strides[2] + p[1] * t.strides[3] +
           p[2] * t.strides[4];
}

inline char* elementAt(const TensorRef& tensor, int64_t n, int64_t c, const Dims3& p) {
    return pointer<char>(tensor) +
           elementIndex(tensor, n, c, p) * static_cast<int64_t>(sizeOf(tensor.data_type));
}

template <typename F>
void forEachPosition(const Dims3& size, const F& f) {
    Dims3 o{};
    for (o[0] = 0; o[0] < size[0]; ++o[0])
        for (o[1] = 0; o[1] < size[1]; ++o[1])
            for (o[2] = 0; o[2] < size[2]; ++o[2]) f(o);
}

// m[n, c, p] of a mask's planes, one view a segment; 1 where there is no mask.
inline double maskAt(const MaskForm& form, const std::vector<TensorRef>& planes, bool multi_channel,
                     int64_t n, int64_t c, const Dims3& p) {
    if (form.segments.empty()) return 1;
    const PlaneIndex at = planeOfChannel(form, multi_channel, c);
    const TensorRef& view = planes[at.segment];
    const double value = load(view, elementIndex(view, form.batch == 1 ? 0 : n, at.plane, p));
    return form.hole_is_one ? 1 - value : value;
}

inline double activate(double y, const PartialConvDesc& desc) {
    // 1 + erf(x) is erfc(-x), which keeps its digits where y is far below 0.
    if (desc.activation == Activation::gelu) return y * std::erfc(-y / std::sqrt(2.0)) / 2;
    if (y >= 0 || desc.activation == Activation::none) return y;
    return desc.activation == Activation::relu ? 0 : static_cast<double>(desc.negative_slope) * y;
}

}  // namespace pconv::cpu
