#include "conformance/view.h"

#include <algorithm>

#include "conformance/problem.h"

namespace pconv::test {

namespace {

constexpr int64_t kGuard = 64;

// The dimensions from the innermost to the outermost.
std::vector<size_t> orderOf(const std::vector<int64_t>& dims, size_t unit) {
    std::vector<size_t> order{unit};
    for (size_t d = dims.size(); d-- > 0;)
        if (d != unit) order.push_back(d);
    return order;
}

int64_t upTo(std::mt19937& random, int64_t most) {
    return std::uniform_int_distribution<int64_t>(0, most)(random);
}

}  // namespace

size_t elementSize(PconvDataType type) {
    return type == PCONV_DATA_TYPE_U8 ? 1 : type == PCONV_DATA_TYPE_F32 ? 4 : 2;
}

int64_t View::count() const {
    return product(dims);
}

int64_t View::at(int64_t i) const {
    int64_t position = offset;
    for (size_t d = dims.size(); d-- > 0;) {
        position += i % dims[d] * strides[d];
        i /= dims[d];
    }
    return position;
}

PconvTensor View::tensor(PconvBuffer buffer, PconvDataType type) const {
    PconvTensor tensor{};
    tensor.buffer = buffer;
    tensor.offset = static_cast<size_t>(offset) * elementSize(type);
    tensor.data_type = type;
    tensor.rank = static_cast<int32_t>(dims.size());
    std::copy(dims.begin(), dims.end(), tensor.dims);
    if (!say_contiguous) std::copy(strides.begin(), strides.end(), tensor.strides);
    return tensor;
}

std::string damage(const View& view, std::vector<uint32_t> memory) {
    int64_t unwritten = 0;
    for (int64_t i = 0; i < view.count(); ++i) {
        uint32_t& value = memory[static_cast<size_t>(view.at(i))];
        if (value == kPoison) ++unwritten;
        value = kPoison;
    }
    int64_t outside = 0;
    for (const uint32_t value : memory)
        if (value != kPoison) ++outside;
    std::string text;
    if (unwritten > 0) text = std::to_string(unwritten) + " elements were not written";
    if (outside > 0)
        text += (text.empty() ? "" : "; ") + std::to_string(outside) +
                " elements outside the tensor were written";
    return text;
}

View denseView(const std::vector<int64_t>& dims, size_t unit) {
    View view;
    view.dims = dims;
    view.strides.resize(dims.size());
    view.offset = kGuard;
    int64_t stride = 1;
    for (const size_t d : orderOf(dims, unit)) {
        view.strides[d] = stride;
        stride *= dims[d];
    }
    view.total = kGuard + stride + kGuard;
    view.say_contiguous = unit + 1 == dims.size();
    return view;
}

View spreadView(const std::vector<int64_t>& dims, size_t unit, std::mt19937& random) {
    View view;
    view.dims = dims;
    view.strides.resize(dims.size());
    view.offset = kGuard + upTo(random, 7);
    std::vector<size_t> order = orderOf(dims, unit);
    if (upTo(random, 2) == 0) std::shuffle(order.begin() + 1, order.end(), random);
    int64_t stride = 1;
    int64_t last = 0;
    for (const size_t d : order) {
        view.strides[d] = stride;
        last += (dims[d] - 1) * stride;
        // A dimension of one element is never stepped over: its stride may be any.
        if (dims[d] == 1 && d != unit && upTo(random, 1) == 0) view.strides[d] = 1 + upTo(random, 1000);
        if (dims[d] > 1 || d == unit) stride = last + 1 + upTo(random, 5);
    }
    view.total = view.offset + last + 1 + kGuard;
    return view;
}

}  // namespace pconv::test
