// A workgroup's tile of a matrix product: rows x columns, in steps of depth.
#ifndef PRODUCT_TILE_GLSL
#define PRODUCT_TILE_GLSL

#include "specialization.h"

layout(constant_id = SPEC_BLOCK_M) const int kBlockM = 64;
layout(constant_id = SPEC_BLOCK_N) const int kBlockN = 64;
layout(constant_id = SPEC_BLOCK_K) const int kBlockK = 16;

#endif
