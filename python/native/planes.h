// PyTorch's masks, which are floating-point numbers, as the planes of a pconv mask.
#pragma once

#include <cstdint>

namespace pconv_python {

enum class MaskSource { f32 = 0, f16 = 1, bf16 = 2 };

struct PlaneSource {
    const void* data;
    MaskSource type;
    int rank;  // N, P, S...
    const int64_t* dims;
    const int64_t* strides;  // elements; 0 where a plane serves several
};

// Bytes of 0 and 1, rows after rows without gaps. False where an element is neither: the bytes are then of no
// use.
bool toBytes(const PlaneSource& source, uint8_t* bytes);

void toFloats(const PlaneSource& source, float* floats);

}  // namespace pconv_python
