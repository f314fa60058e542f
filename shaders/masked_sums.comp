// Sums over a part of one channel of one image, [N, C, parts, 2]: of x and of the mask, or of the squares of deviations
// from the mean.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "masked_rows.glsl"
#include "walk.glsl"
#include "workgroup_sum.glsl"

layout(binding = 4) restrict buffer Sums {
    float sums[];
};

void main() {
    int lanes = int(gl_WorkGroupSize.x);
    int lane = int(gl_LocalInvocationID.x);
    int c = push.c0 + int(gl_WorkGroupID.x);
    int n = push.n0 + int(gl_WorkGroupID.y);
    int parts = int(gl_NumWorkGroups.z);
    int pixels = push.rows * push.width;
    int steps_a_part = (pixels + lanes * parts - 1) / (lanes * parts);
    int first = int(gl_WorkGroupID.z) * steps_a_part * lanes + lane;
    int end = min(pixels, (int(gl_WorkGroupID.z) + 1) * steps_a_part * lanes);
    ivec2 size = ivec2(push.width, push.height);
    ivec3 step_ = placeOf(lanes, size);
    ivec3 place = placeOf(push.row0 * push.width + first, size);
    float values = 0.0;
    float values_lost = 0.0;
    float masks = 0.0;
    float masks_lost = 0.0;
    for (int at = first; at < end; at += lanes) {
        float m = maskAt(n, c, place);
        float value = valueAt(n, c, place, m);
        if (push.deviations != 0) {
            float deviation = (value - statistics[c]) * m;
            value = deviation * deviation;
        }
        addTo(values, values_lost, value);
        addTo(masks, masks_lost, m);
        place = advance(place, step_, size);
    }
    values = joinLanes(values, values_lost);
    masks = joinLanes(masks, masks_lost);
    if (lane == 0) {
        int to = 2 * ((n * push.channels + c) * parts + int(gl_WorkGroupID.z));
        sums[to] = (push.add != 0 ? sums[to] : 0.0) + values;
        sums[to + 1] = (push.add != 0 ? sums[to + 1] : 0.0) + masks;
    }
}
