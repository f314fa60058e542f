#include "vulkan/window.h"

namespace pconv::vulkan {

namespace {

void store(int32_t (&to)[3], const Dims3& from) {
    for (size_t i = 0; i < 3; ++i) to[i] = static_cast<int32_t>(from[i]);
}

}  // namespace

uint32_t maskKind(MaskType type) {
    return type == MaskType::none ? MASK_NONE : type == MaskType::binary ? MASK_BITS : MASK_FRACTIONAL;
}

const char* suffix(DataType type) {
    return type == DataType::f16 ? "_f16" : type == DataType::bf16 ? "_bf16" : "_f32";
}

int32_t gainOf(const PartialConvDesc& desc) {
    if (desc.maskedConvolution()) return desc.mask_type == MaskType::none ? GAIN_ONE : GAIN_CHANNELS;
    return desc.mask_type == MaskType::fractional ? GAIN_FRACTIONAL : GAIN_RATIO;
}

int32_t tileHeight(const Capabilities& device, const Window& window) {
    if (device.few_registers) return 1;
    return window.output[1] >= 4 ? 4 : window.output[1] >= 2 ? 2 : 1;
}

// The input columns of a tile's row must fit into 32 bits.
int32_t tileWidth(const Window& window) {
    return window.stride[2] <= 8 ? 4 : 1;
}

int32_t maskRowWords(int64_t width, MaskType type) {
    const auto columns = static_cast<int32_t>(width);
    return type == MaskType::fractional ? columns : ceilDiv(columns, 32) + 2 * MASK_MARGIN_WORDS;
}

WindowParams makeWindowParams(const Capabilities& device, const Window& window, MaskType mask) {
    WindowParams p{};
    store(p.input, window.input);
    store(p.output, window.output);
    store(p.kernel, window.kernel);
    store(p.stride, window.stride);
    store(p.padding, window.padding);
    store(p.dilation, window.dilation);
    p.tile_h = tileHeight(device, window);
    p.tile_w = tileWidth(window);
    p.tile_rows = ceilDiv(p.output[1], p.tile_h);
    p.tile_columns = ceilDiv(p.output[2], p.tile_w);
    p.tile_words = ceilDiv(p.output[0] * p.tile_rows * p.tile_columns, 32);
    p.row_words = maskRowWords(window.input[2], mask);
    return p;
}

}  // namespace pconv::vulkan
