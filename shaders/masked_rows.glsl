// What the kernels of masked normalization share: x with its holes read as 0, and the mask.
#ifndef MASKED_ROWS_GLSL
#define MASKED_ROWS_GLSL

#include "element.glsl"
#include "specialization.h"

#define MASK_BINDING 1
#define RUNS_BINDING 2
#include "mask_planes.glsl"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) readonly buffer Input {
    ELEMENT x[];
};
layout(binding = 3) restrict readonly buffer Statistics {
    float statistics[];  // of the channels: means, counts, scales, shifts
};

layout(push_constant) uniform Push {
    int x_stride_n, x_stride_c, x_stride_d, x_stride_h, x_stride_w;
    int y_stride_n, y_stride_c, y_stride_d, y_stride_h, y_stride_w;
    int x_base, y_base;
    int mask_base, mask_stride_n, row_words;
    int depth, height, width;
    int channels;
    int n0, images;
    int row0, rows;
    int c0, channel_count;
    int deviations;  // 1: squares of deviations from the mean are added up
    int add;
} push;

// `place` is column, row and plane, `plane` the mask's.
int maskRow(int n, int plane, ivec3 place) {
    return push.mask_base + n * push.mask_stride_n +
           ((plane * push.depth + place.z) * push.height + place.y) * push.row_words;
}

float maskOf(int n, int plane, ivec3 place) {
    return kMaskKind == MASK_NONE ? 1.0 : maskValue(maskRow(n, plane, place), place.x);
}

float maskAt(int n, int c, ivec3 place) {
    return kMaskKind == MASK_NONE ? 1.0 : maskOf(n, planeOfRun(runOf(c, push.channels)), place);
}

float valueAt(int n, int c, ivec3 place, float m) {
    float value = FROM_ELEMENT(x[push.x_base + n * push.x_stride_n + c * push.x_stride_c + place.z * push.x_stride_d +
                                 place.y * push.x_stride_h + place.x * push.x_stride_w]);
    return m != 0.0 ? value : 0.0;
}

#endif
