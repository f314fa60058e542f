// What the functions that Python calls share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <new>

#include "pconv/pconv.h"

#define PCONV_PYTHON_API __attribute__((visibility("default")))

namespace pconv_python {

inline constexpr int kHasFractions = 100;  // beside the statuses: a mask said to be binary is not

inline size_t sizeOf(PconvDataType type) {
    return type == PCONV_DATA_TYPE_F32 ? 4 : type == PCONV_DATA_TYPE_U8 ? 1 : 2;
}

// std::bad_alloc is all that can fly here.
template <class F>
int32_t guarded(const F& f) {
    try {
        return f();
    } catch (const std::bad_alloc&) {
        return PCONV_ERROR_OUT_OF_MEMORY;
    }
}

}  // namespace pconv_python
