// Rows of 16-bit elements to and from f32.
#pragma once

#include <cstdint>

#include "backend.h"

namespace pconv::cpu {

// `type` is f16 or bf16; rounded to nearest even.
void widenRow(DataType type, float* to, const uint16_t* from, int64_t size);
void narrowRow(DataType type, uint16_t* to, const float* from, int64_t size);

}  // namespace pconv::cpu
