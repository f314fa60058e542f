// Padding other than zeros as a map of indices: which element of the input each one of the padded input is.
#pragma once

#include "backend.h"

namespace pconv {

inline Dims3 paddedSize(Dims3 size, const Padding& padding) {
    for (size_t d = 0; d < 3; ++d) size[d] += padding.begin[d] + padding.end[d];
    return size;
}

inline Dims3 paddedSize(const Window& window) {
    return paddedSize(window.input, {PaddingMode::zeros, window.padding, window.padding_end});
}

// `at` counts from the first element of the input of `size`, and lies no further outside than the mode
// reaches.
inline int64_t paddedSource(PaddingMode mode, int64_t at, int64_t size) {
    if (at >= 0 && at < size) return at;
    if (mode == PaddingMode::replicate) return at < 0 ? 0 : size - 1;
    if (mode == PaddingMode::circular) return at < 0 ? at + size : at - size;
    return at < 0 ? -at : 2 * (size - 1) - at;
}

// Calls f(index in the padded input) for each element that is a copy of element `at`, itself first.
template <typename F>
void forEachImage(const Padding& padding, size_t axis, int64_t at, int64_t size, const F& f) {
    const int64_t begin = padding.begin[axis];
    const int64_t end = padding.end[axis];
    f(begin + at);
    if (padding.mode == PaddingMode::replicate) {
        for (int64_t i = 0; at == 0 && i < begin; ++i) f(i);
        for (int64_t i = 0; at == size - 1 && i < end; ++i) f(begin + size + i);
        return;
    }
    const bool reflect = padding.mode == PaddingMode::reflect;
    const int64_t last = size - 1 - at;  // the distance to the last element
    const int64_t in_front = reflect ? at : last + 1;
    const int64_t behind = reflect ? last : at + 1;
    if (in_front >= 1 && in_front <= begin) f(begin - in_front);
    if (behind >= 1 && behind <= end) f(begin + size - 1 + behind);
}

}  // namespace pconv
