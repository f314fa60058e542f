// A matrix product by way of slices in shared memory, of which an invocation makes a part in registers: runs of four rows and of four
// columns. Indices are shifted, not divided: of a signed number, which may be below 0 for all that compilers know, a quotient takes
// six instructions.
#ifndef REGISTER_TILE_GLSL
#define REGISTER_TILE_GLSL

#include "product_tile.glsl"

layout(constant_id = SPEC_THREAD_M) const int kThreadM = 4;
layout(constant_id = SPEC_THREAD_N) const int kThreadN = 4;
const int kThreadsN = kBlockN / kThreadN;
const int kLanes = kBlockM / kThreadM * kThreadsN;
// Of a row of B, which who includes this may want longer than the tile.
#ifndef B_PADDING
#define B_PADDING 0
#endif
const int kStrideB = kBlockN + B_PADDING;

shared vec4 slice_a[kBlockK * kBlockM / 4];
shared vec4 slice_b[kBlockK * kStrideB / 4];

float acc[kThreadM * kThreadN];

// Column j of an invocation's, from the tile's first.
int columnOf(int thread, int j) {
    return thread * 4 + j % 4 + j / 4 * 4 * kThreadsN;
}

void storeB(int row, int column, float value) {
    slice_b[row * (kStrideB / 4) + (column >> 2)][column & 3] = value;
}

// Adds up what rows of the slices make; `rows_a` counts runs of the tile's rows, `column_n` of its columns.
void multiply(int begin, int end, int rows_a, int column_n) {
    for (int k = begin; k < end; ++k) {
        vec4 a[kThreadM / 4];
        vec4 b[kThreadN / 4];
        [[unroll]] for (int i = 0; i < kThreadM / 4; ++i) a[i] = slice_a[k * (kBlockM / 4) + rows_a + i];
        [[unroll]] for (int j = 0; j < kThreadN / 4; ++j) b[j] = slice_b[k * (kStrideB / 4) + column_n + j * kThreadsN];
        [[unroll]] for (int i = 0; i < kThreadM; ++i)
            [[unroll]] for (int j = 0; j < kThreadN; ++j) acc[i * kThreadN + j] += a[i / 4][i % 4] * b[j / 4][j % 4];
    }
}

#endif
