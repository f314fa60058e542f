// The mask under an input, and the settings: bindings 3 to 5 of both gradients, to be included behind the push constants.
#ifndef GRADIENT_MASK_GLSL
#define GRADIENT_MASK_GLSL

#include "gradient.glsl"

#define MASK_BINDING 3
#define RUNS_BINDING 4
#include "mask_planes.glsl"

layout(binding = 5) uniform Params {
    GradientParams p;
};

float maskAt(int n, int plane, int z, int y, int x) {
    if (kMaskKind == MASK_NONE) return 1.0;
    return maskValue(
        push.mask_base + n * push.mask_stride_n + ((plane * p.w.input_d + z) * p.w.input_h + y) * p.w.row_words, x);
}

int planeOf(int channel) {
    return kMaskMulti != 0 ? planeOfRun(runOf(channel, p.in_channels)) : 0;
}

#endif
