// What the cuts of a window's outputs are made from.
#pragma once

#include "backend.h"

namespace pconv::cpu {

inline int64_t ceilDivide(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

inline int64_t roundedUp(int64_t value, int64_t to) {
    return ceilDivide(value, to) * to;
}

// Of the inputs that one window reaches over.
inline int64_t extent(const Window& w, size_t d) {
    return (w.kernel[d] - 1) * w.dilation[d] + 1;
}

// Whether every window does, in the dimensions from `first` on.
inline bool reachesInputEverywhere(const Window& w, size_t first) {
    for (size_t d = first; d < 3; ++d)
        if (w.padding[d] >= extent(w, d) || (w.output[d] - 1) * w.stride[d] - w.padding[d] >= w.input[d])
            return false;
    return true;
}

}  // namespace pconv::cpu
