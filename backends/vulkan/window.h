// What the kernels know of a window, as shaders/window.glsl declares it.
#pragma once

#include <cstdint>

#include "../../shaders/specialization.h"
#include "backend.h"
#include "vulkan/device/context.h"

namespace pconv::vulkan {

struct alignas(16) WindowParams {
    int32_t input[3], output[3], kernel[3], stride[3], padding[3], dilation[3];
    int32_t tile_h, tile_w, tile_rows, tile_columns, tile_words, row_words;
};

// MASK_NONE, MASK_BITS or MASK_FRACTIONAL.
uint32_t maskKind(MaskType type);

// One of the GAIN_ values.
int32_t gainOf(const PartialConvDesc& desc);

// What the names of shaders end with that read or write such tensors.
const char* suffix(DataType type);

// 32-bit words of a packed plane's row.
int32_t maskRowWords(int64_t width, MaskType type);

WindowParams makeWindowParams(const Capabilities& device, const Window& window, MaskType mask);

// What an invocation of partial_conv_direct makes at once, and one flag of the mask update stands for.
int32_t tileHeight(const Capabilities& device, const Window& window);
int32_t tileWidth(const Window& window);

template <typename T>
T ceilDiv(T a, T b) {
    return (a + b - 1) / b;
}

}  // namespace pconv::vulkan
