// Sums over one channel of one image, [N, C, 2]: of x and of the mask, or of the squares of deviations from the mean.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "masked_rows.glsl"
#include "sum.glsl"

layout(binding = 4) restrict buffer Sums {
    float sums[];
};

const int kLanes = int(gl_WorkGroupSize.x);
shared vec2 parts[kLanes];
shared vec2 parts_lost[kLanes];

void main() {
    int lane = int(gl_LocalInvocationID.x);
    int c = push.c0 + int(gl_WorkGroupID.x);
    int n = push.n0 + int(gl_WorkGroupID.y);
    float values = 0.0;
    float values_lost = 0.0;
    float masks = 0.0;
    float masks_lost = 0.0;
    for (int at = lane; at < push.rows * push.width; at += kLanes) {
        int row = push.row0 + at / push.width;
        int column = at % push.width;
        float m = maskAt(n, c, row, column);
        float value = valueAt(n, c, row, column, m);
        if (push.deviations != 0) {
            float deviation = (value - statistics[c]) * m;
            value = deviation * deviation;
        }
        addTo(values, values_lost, value);
        addTo(masks, masks_lost, m);
    }
    parts[lane] = vec2(values, masks);
    parts_lost[lane] = vec2(values_lost, masks_lost);
    barrier();
    for (int half_lanes = kLanes / 2; half_lanes > 0; half_lanes /= 2) {
        if (lane < half_lanes) {
            addTo(values, values_lost, parts[lane + half_lanes].x);
            addTo(masks, masks_lost, parts[lane + half_lanes].y);
            values_lost += parts_lost[lane + half_lanes].x;
            masks_lost += parts_lost[lane + half_lanes].y;
            parts[lane] = vec2(values, masks);
            parts_lost[lane] = vec2(values_lost, masks_lost);
        }
        barrier();
    }
    if (lane == 0) {
        int to = 2 * (n * push.channels + c);
        sums[to] = (push.add != 0 ? sums[to] : 0.0) + (values - values_lost);
        sums[to + 1] = (push.add != 0 ? sums[to + 1] : 0.0) + (masks - masks_lost);
    }
}
