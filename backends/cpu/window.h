// What the cuts of a window's outputs are made from.
#pragma once

#include "backend.h"

namespace pconv::cpu {

inline int64_t ceilDivide(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// Of the inputs that one window reaches over.
inline int64_t extent(const Window& w, size_t d) {
    return (w.kernel[d] - 1) * w.dilation[d] + 1;
}

}  // namespace pconv::cpu
