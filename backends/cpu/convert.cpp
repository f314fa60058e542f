// Copies between data types and strides.
#include "cpu/element.h"
#include "cpu/parallel.h"

namespace pconv::cpu {

namespace {

template <typename From, typename To, typename Convert>
void convertRows(const CpuDevice& device, const TensorRef& source, const TensorRef& destination,
                 const std::array<int64_t, 5>& dims, const Convert& value) {
    parallelFor(device.threads(), dims[0] * dims[1] * dims[2], [&](int /*thread*/, int64_t plane) {
        const int64_t c = plane / dims[2] % dims[1];
        const int64_t n = plane / dims[2] / dims[1];
        for (int64_t h = 0; h < dims[3]; ++h) {
            const Dims3 p{plane % dims[2], h, 0};
            const From* from = pointer<From>(source) + elementIndex(source, n, c, p);
            To* to = pointer<To>(destination) + elementIndex(destination, n, c, p);
            for (int64_t i = 0; i < dims[4]; ++i)
                to[i * destination.strides[4]] = value(from[i * source.strides[4]]);
        }
    });
}

template <typename From, typename Read>
void convertFrom(const CpuDevice& device, const TensorRef& source, const TensorRef& destination,
                 const std::array<int64_t, 5>& dims, const Read& read) {
    switch (destination.data_type) {
        case DataType::f32:
            return convertRows<From, float>(device, source, destination, dims, read);
        case DataType::f16:
            return convertRows<From, uint16_t>(device, source, destination, dims,
                                               [&](From v) { return f16FromFloat(read(v)); });
        case DataType::bf16:
            return convertRows<From, uint16_t>(device, source, destination, dims,
                                               [&](From v) { return bf16FromFloat(read(v)); });
        case DataType::u8:
        case DataType::bits:
            break;  // the core lets none through
    }
}

}  // namespace

void CpuDevice::convert(const TensorRef& source, const TensorRef& destination,
                        const std::array<int64_t, 5>& dims) {
    switch (source.data_type) {
        case DataType::f32:
            return convertFrom<float>(*this, source, destination, dims, [](float v) { return v; });
        case DataType::f16:
            return convertFrom<uint16_t>(*this, source, destination, dims, floatFromF16);
        case DataType::bf16:
            return convertFrom<uint16_t>(*this, source, destination, dims, floatFromBf16);
        case DataType::u8:
        case DataType::bits:
            break;  // the core lets none through
    }
}

void CpuDevice::unpackBits(const TensorRef& bits, const TensorRef& bytes,
                           const std::array<int64_t, 5>& dims) {
    constexpr int64_t kWordBits = 32;
    parallelFor(threads(), dims[0] * dims[1] * dims[2], [&](int /*thread*/, int64_t plane) {
        const int64_t c = plane / dims[2] % dims[1];
        const int64_t n = plane / dims[2] / dims[1];
        for (int64_t h = 0; h < dims[3]; ++h) {
            const Dims3 p{plane % dims[2], h, 0};
            const uint32_t* from = pointer<uint32_t>(bits) + elementIndex(bits, n, c, p) / kWordBits;
            uint8_t* to = pointer<uint8_t>(bytes) + elementIndex(bytes, n, c, p);
            for (int64_t i = 0; i < dims[4]; ++i)
                to[i] = static_cast<uint8_t>(from[i / kWordBits] >> (i % kWordBits) & 1U);
        }
    });
}

}  // namespace pconv::cpu
