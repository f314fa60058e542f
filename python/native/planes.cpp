#include "planes.h"

#include <cstring>

namespace pconv_python {
namespace {

float fromBits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

float halfToFloat(uint16_t half) {
    const uint32_t sign = (half & 0x8000U) << 16;
    const uint32_t exponent = (half >> 10) & 31U;
    const uint32_t mantissa = half & 0x3FFU;
    if (exponent == 31) return fromBits(sign | 0x7F800000U | mantissa << 13);
    if (exponent != 0) return fromBits(sign | (exponent + 112) << 23 | mantissa << 13);
    const float small = static_cast<float>(mantissa) * 0x1p-24F;
    return sign != 0 ? -small : small;
}

// Binary masks are told from others without converting them.
struct F32 {
    using Element = float;
    static unsigned isSet(float v) { return v != 0.0F; }
    static unsigned isOther(float v) {
        return static_cast<unsigned>(v != 0.0F) & static_cast<unsigned>(v != 1.0F);
    }
    static float value(float v) { return v; }
};

struct F16 {
    using Element = uint16_t;
    static unsigned isSet(uint16_t v) { return (v & 0x7FFFU) != 0; }
    static unsigned isOther(uint16_t v) { return isSet(v) & static_cast<unsigned>(v != 0x3C00U); }
    static float value(uint16_t v) { return halfToFloat(v); }
};

struct BF16 {
    using Element = uint16_t;
    static unsigned isSet(uint16_t v) { return (v & 0x7FFFU) != 0; }
    static unsigned isOther(uint16_t v) { return isSet(v) & static_cast<unsigned>(v != 0x3F80U); }
    static float value(uint16_t v) { return fromBits(static_cast<uint32_t>(v) << 16); }
};

template <class T>
unsigned bytesOfRow(const typename T::Element* row, int64_t count, int64_t stride, uint8_t* bytes) {
    unsigned other = 0;
    if (stride == 1) {
        for (int64_t i = 0; i < count; ++i) {
            bytes[i] = static_cast<uint8_t>(T::isSet(row[i]));
            other |= T::isOther(row[i]);
        }
        return other;
    }
    for (int64_t i = 0; i < count; ++i) {
        bytes[i] = static_cast<uint8_t>(T::isSet(row[i * stride]));
        other |= T::isOther(row[i * stride]);
    }
    return other;
}

template <class T>
unsigned floatsOfRow(const typename T::Element* row, int64_t count, int64_t stride, float* floats) {
    for (int64_t i = 0; i < count; ++i) floats[i] = T::value(row[i * stride]);
    return 0;
}

// Calls visit(row, elements, stride, elements before it) for each run of equally strided elements; stops
// where it answers other than 0.
template <class Element, class Visit>
unsigned forEachRow(const PlaneSource& s, const Visit& visit) {
    int outer = s.rank - 1;
    int64_t count = s.dims[outer];
    const int64_t stride = s.strides[outer];
    while (outer > 0 && s.strides[outer - 1] == count * stride) count *= s.dims[--outer];
    int64_t rows = 1;
    for (int d = 0; d < outer; ++d) rows *= s.dims[d];
    const auto* data = static_cast<const Element*>(s.data);
    for (int64_t r = 0; r < rows; ++r) {
        int64_t at = 0;
        int64_t rest = r;
        for (int d = outer - 1; d >= 0; --d) {
            at += rest % s.dims[d] * s.strides[d];
            rest /= s.dims[d];
        }
        if (const unsigned stop = visit(data + at, count, stride, r * count)) return stop;
    }
    return 0;
}

template <class T>
bool bytesOf(const PlaneSource& source, uint8_t* bytes) {
    using Element = typename T::Element;
    return forEachRow<Element>(source, [&](const Element* row, int64_t count, int64_t stride, int64_t at) {
               return bytesOfRow<T>(row, count, stride, bytes + at);
           }) == 0;
}

template <class T>
void floatsOf(const PlaneSource& source, float* floats) {
    using Element = typename T::Element;
    forEachRow<Element>(source, [&](const Element* row, int64_t count, int64_t stride, int64_t at) {
        return floatsOfRow<T>(row, count, stride, floats + at);
    });
}

}  // namespace

bool toBytes(const PlaneSource& source, uint8_t* bytes) {
    switch (source.type) {
        case MaskSource::f16:
            return bytesOf<F16>(source, bytes);
        case MaskSource::bf16:
            return bytesOf<BF16>(source, bytes);
        case MaskSource::f32:
            break;
    }
    return bytesOf<F32>(source, bytes);
}

void toFloats(const PlaneSource& source, float* floats) {
    switch (source.type) {
        case MaskSource::f16:
            return floatsOf<F16>(source, floats);
        case MaskSource::bf16:
            return floatsOf<BF16>(source, floats);
        case MaskSource::f32:
            break;
    }
    floatsOf<F32>(source, floats);
}

}  // namespace pconv_python
