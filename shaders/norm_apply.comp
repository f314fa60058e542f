// Masked batch normalization of elements; x and y may be the same.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "masked_rows.glsl"

layout(binding = 4) writeonly buffer Output {
    ELEMENT y[];
};

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.images * push.channel_count * push.rows * push.width) return;
    int column = id % push.width;
    id /= push.width;
    int row = push.row0 + id % push.rows;
    id /= push.rows;
    int c = push.c0 + id % push.channel_count;
    int n = push.n0 + id / push.channel_count;
    ivec3 place = ivec3(column, row % push.height, row / push.height);
    float value = valueAt(n, c, place, maskAt(n, c, place));
    value = (value - statistics[c]) * statistics[2 * push.channels + c] + statistics[3 * push.channels + c];
    y[push.y_base + n * push.y_stride_n + c * push.y_stride_c + place.z * push.y_stride_d + place.y * push.y_stride_h +
      place.x * push.y_stride_w] = TO_ELEMENT(value);
}
