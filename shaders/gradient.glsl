// What the kernels of the backward pass share: the convolution as they see it.
#ifndef GRADIENT_GLSL
#define GRADIENT_GLSL

#include "element.glsl"
#include "window.glsl"

struct GradientParams {
    WindowParams w;
    int group_in, group_out;
    int in_channels, out_channels;
    int ratio_groups;   // as in partial_conv.glsl
    int applies_mask;
    int gain;
    int scales_input;   // 1: the input is multiplied by a fractional mask, 0: selected by it
};

#endif
