#include "core/tensor.h"

#include <algorithm>
#include <numeric>

#include "core/checked.h"

namespace pconv {

namespace {

constexpr int64_t kWordBits = 32;

int64_t wordsOf(int64_t bits) {
    return bits / kWordBits + (bits % kWordBits != 0 ? 1 : 0);
}

std::string shape(const int64_t* dims, int rank) {
    std::string text = "[";
    for (int i = 0; i < rank; ++i) text += (i > 0 ? ", " : "") + std::to_string(dims[i]);
    return text + "]";
}

DataType seamType(const PconvDataType& type, const std::string& name) {
    const int64_t number = enumNumber(type);
    if (number < 0 || number > PCONV_DATA_TYPE_BITS) invalid(name + " has an unknown data type");
    return static_cast<DataType>(number);
}

const char* typeName(DataType type) {
    static const char* const names[] = {"F32", "F16", "BF16", "U8", "BITS"};
    return names[static_cast<size_t>(type)];
}

// Elements from the first to the last, both included; checks that it can be counted.
int64_t span(const Dims5& dims, const Dims5& strides, const std::string& name) {
    int64_t last = 0;
    for (size_t d = 0; d < 5; ++d) {
        const int64_t reach = checkedProduct(dims[d] - 1, strides[d], name.c_str());
        if (last > INT64_MAX / 16 - reach) invalid(name + " reaches beyond what 64 bits can address");
        last += reach;
    }
    return last + 1;
}

// Dimensions with larger strides must step over all that smaller ones cover.
void checkNoSelfOverlap(const Dims5& dims, const Dims5& strides, const std::string& name) {
    std::array<size_t, 5> order{0, 1, 2, 3, 4};
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return strides[a] < strides[b]; });
    int64_t covered = 1;
    for (const size_t d : order) {
        if (dims[d] == 1) continue;
        if (strides[d] < covered) invalid(name + " has strides by which its elements overlap");
        covered += (dims[d] - 1) * strides[d];
    }
}

// The caller's dims or strides in N, C, D, H, W.
Dims5 expand(const int64_t* values, int spatial_dims, int64_t fill) {
    Dims5 result{values[0], values[1], fill, fill, fill};
    for (int i = 0; i < spatial_dims; ++i) result[static_cast<size_t>(5 - spatial_dims + i)] = values[2 + i];
    return result;
}

const PconvBuffer_T& ownBuffer(const PconvTensor& tensor, const std::string& name,
                               const DeviceState& device) {
    if (tensor.buffer == nullptr) invalid(name + " has no buffer");
    if (tensor.buffer->state.device.get() != &device) invalid(name + " lies on another device");
    return *tensor.buffer;
}

void checkInBuffer(const PconvTensor& tensor, const PconvBuffer_T& buffer, int64_t elements, DataType type,
                   const std::string& name) {
    const size_t size = sizeOf(type);
    if (tensor.offset % size != 0)
        invalid(name + " has offset " + std::to_string(tensor.offset) + "; expected a multiple of " +
                std::to_string(size));
    // Imported memory may start anywhere.
    if (buffer.state.buffer->address() % size != 0)
        invalid(name + " lies in memory that is not aligned to its elements of " + std::to_string(size) +
                " bytes");
    const size_t bytes = static_cast<size_t>(type == DataType::bits ? wordsOf(elements) : elements) * size;
    const size_t available = buffer.state.buffer->size();
    if (tensor.offset > available || bytes > available - tensor.offset)
        invalid(name + " needs " + std::to_string(bytes) + " bytes from offset " +
                std::to_string(tensor.offset) + "; the buffer has " + std::to_string(available));
}

}  // namespace

Dims5 contiguousStrides(const Dims5& dims) {
    Dims5 strides{};
    int64_t stride = 1;
    for (size_t d = 5; d-- > 0;) {
        strides[d] = stride;
        stride *= dims[d];
    }
    return strides;
}

Dims5 denseStrides(const Dims5& dims, Layout layout) {
    if (layout == Layout::contiguous) return contiguousStrides(dims);
    const Dims5 last = contiguousStrides({dims[0], dims[2], dims[3], dims[4], dims[1]});
    return {last[0], last[4], last[1], last[2], last[3]};
}

TensorRef parseTensor(const PconvTensor* caller, const Expected& expected, const DeviceState& device) {
    const std::string name = expected.name;
    const PconvTensor& tensor = notNull(caller, expected.name);
    const int rank = expected.spatial_dims + 2;
    if (tensor.rank != rank)
        invalid(name + " has " + std::to_string(tensor.rank) + " dimensions; expected " +
                std::to_string(rank));
    const DataType type = seamType(tensor.data_type, name);
    if (type != expected.data_type)
        invalid(name + " is " + typeName(type) + "; expected " + typeName(expected.data_type));
    if (expand(tensor.dims, expected.spatial_dims, 1) != expected.dims) {
        std::array<int64_t, 5> wanted{expected.dims[0], expected.dims[1]};
        for (int i = 0; i < expected.spatial_dims; ++i)
            wanted[static_cast<size_t>(2 + i)] =
                expected.dims[static_cast<size_t>(5 - expected.spatial_dims + i)];
        invalid(name + " has shape " + shape(tensor.dims, rank) + "; expected " + shape(wanted.data(), rank));
    }
    const PconvBuffer_T& buffer = ownBuffer(tensor, name, device);

    TensorRef result{buffer.state.buffer, tensor.offset, type, {}};
    if (std::all_of(tensor.strides, tensor.strides + rank, [](int64_t s) { return s == 0; })) {
        Dims5 filled = expected.dims;
        if (type == DataType::bits) filled[4] = wordsOf(filled[4]) * kWordBits;
        result.strides = contiguousStrides(filled);
    } else {
        result.strides = expand(tensor.strides, expected.spatial_dims, 1);
        for (size_t d = 0; d < 5; ++d) {
            if (result.strides[d] < 1)
                invalid(name + " has a stride of " + std::to_string(result.strides[d]) +
                        "; expected at least 1");
            if (type == DataType::bits && d < 4 && expected.dims[d] > 1 && result.strides[d] % kWordBits != 0)
                invalid(name + " has a stride of " + std::to_string(result.strides[d]) +
                        " bits; expected a multiple of 32, as rows begin at words");
            // A dimension of one element is never stepped over: any stride will do.
            if (expected.dims[d] == 1) result.strides[d] = 1;
        }
    }
    const size_t unit = expected.unit == UnitStride::channels ? 1 : 4;
    if (expected.unit != UnitStride::any && result.strides[unit] != 1)
        invalid(name + " has stride " + std::to_string(result.strides[unit]) + " in its " +
                (unit == 1 ? "channels" : "last dimension") + "; expected 1 in this layout");
    checkInBuffer(tensor, buffer, span(expected.dims, result.strides, name), type, name);
    checkNoSelfOverlap(expected.dims, result.strides, name);
    return result;
}

TensorRef parseVector(const PconvTensor* caller, const char* name, DataType data_type, int64_t size,
                      const DeviceState& device) {
    const PconvTensor& tensor = notNull(caller, name);
    const std::string text = name;
    if (tensor.rank != 1 || tensor.dims[0] != size)
        invalid(text + " has shape " + shape(tensor.dims, std::clamp(tensor.rank, 0, PCONV_MAX_DIMS)) +
                "; expected [" + std::to_string(size) + "]");
    const DataType type = seamType(tensor.data_type, text);
    if (type != data_type) invalid(text + " is " + typeName(type) + "; expected " + typeName(data_type));
    if (size > 1 && tensor.strides[0] != 0 && tensor.strides[0] != 1)
        invalid(text + " has stride " + std::to_string(tensor.strides[0]) + "; expected 1");
    const PconvBuffer_T& buffer = ownBuffer(tensor, text, device);
    checkInBuffer(tensor, buffer, size, type, text);
    return {buffer.state.buffer, tensor.offset, type, {1, 1, 1, 1, 1}};
}

void checkContiguous(const TensorRef& tensor, const Dims5& dims, const char* name) {
    const Dims5 expected = contiguousStrides(dims);
    for (size_t d = 0; d < 5; ++d)
        if (dims[d] > 1 && tensor.strides[d] != expected[d])
            invalid(std::string(name) + " is not contiguous");
}

bool mayOverlap(const TensorRef& a, const Dims5& a_dims, const TensorRef& b, const Dims5& b_dims) {
    if (a.buffer != b.buffer) return false;
    const auto size = static_cast<int64_t>(sizeOf(a.data_type));
    const auto a_first = static_cast<int64_t>(a.offset);
    const auto b_first = static_cast<int64_t>(b.offset);
    const int64_t a_end = a_first + span(a_dims, a.strides, "a") * size;
    const int64_t b_end = b_first + span(b_dims, b.strides, "b") * size;
    if (a_end <= b_first || b_end <= a_first) return false;
    if (a.data_type != b.data_type) return true;
    // Both repeat with one period: compare what they cover within it.
    for (size_t d = 0; d < 5; ++d) {
        const int64_t period = a.strides[d];
        if (a_dims[d] == 1 || b_dims[d] == 1 || b.strides[d] != period) continue;
        const auto within = [period](const TensorRef& t, const Dims5& dims) -> int64_t {
            int64_t last = 0;
            for (size_t e = 0; e < 5; ++e) {
                if (dims[e] == 1) continue;
                if (t.strides[e] < period)
                    last += (dims[e] - 1) * t.strides[e];
                else if (t.strides[e] % period != 0)
                    return -1;
            }
            return last + 1;
        };
        const int64_t a_length = within(a, a_dims) * size;
        const int64_t b_length = within(b, b_dims) * size;
        if (a_length < 0 || b_length < 0) continue;
        const int64_t bytes = period * size;
        const int64_t ahead = ((b_first - a_first) % bytes + bytes) % bytes;
        if (ahead >= a_length && bytes - ahead >= b_length) return false;
    }
    return true;
}

}  // namespace pconv
