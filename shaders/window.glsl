// A window over an input: what all kernels know of it. Mirrors WindowParams in vulkan_window.h.
#ifndef WINDOW_GLSL
#define WINDOW_GLSL

#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;
layout(constant_id = SPEC_MASK_MULTI) const int kMaskMulti = 0;

struct WindowParams {
    int input_d, input_h, input_w;
    int output_d, output_h, output_w;
    int kernel_d, kernel_h, kernel_w;
    int stride_d, stride_h, stride_w;
    int padding_d, padding_h, padding_w;
    int dilation_d, dilation_h, dilation_w;
    int tile_h, tile_w;           // outputs of a tile
    int tile_rows, tile_columns;  // tiles along H and W
    int tile_words;               // of one image's tile flags
    int row_words;                // of a row of a mask plane; bit planes with their margins
};

// Bits of the columns x0, x0 + 1, ... below 32 that lie inside a row of `width`.
uint insideBits(int x0, int width) {
    int low = clamp(-x0, 0, 32);
    int high = clamp(width - x0, 0, 32);
    if (high <= low) return 0u;
    uint below_high = high == 32 ? 0xFFFFFFFFu : (1u << uint(high)) - 1u;
    return below_high & (0xFFFFFFFFu << uint(low));
}

#endif
