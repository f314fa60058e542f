// Sums over a part of one channel of one image, [N, C, parts, 2]: of x and of the mask, or of the squares of deviations
// from the mean. Where elements lie beside each other an invocation takes four at once, of a row or of a pixel.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "masked_rows.glsl"
#include "walk.glsl"
#include "workgroup_sum.glsl"

layout(constant_id = SPEC_FOURS) const int kFours = FOURS_NONE;

layout(binding = 0) readonly buffer Input4 {
    ELEMENT4 x4[];
};
layout(binding = 4) restrict buffer Sums {
    float sums[];
};

const int kTaken = kFours == FOURS_NONE ? 1 : 4;             // elements of a step
const int kColumns = kFours == FOURS_OF_ROWS ? 4 : 1;        // ... of a row
const int kChannels = kFours == FOURS_OF_CHANNELS ? 4 : 1;   // ... of a pixel, in which a workgroup sums up

// The masks of a step's elements. Four columns of a row of bits lie in one word; channels that share a plane read it once.
void readMasks(int n, int planes[kChannels], bool one_plane, ivec3 place, out float m[kTaken]) {
    if (kMaskKind == MASK_BITS && kFours == FOURS_OF_ROWS) {
        uint bits = mask_bits[maskRow(n, planes[0], place) + MASK_MARGIN_WORDS + (place.x >> 5)] >> (uint(place.x) & 31u);
        [[unroll]] for (int k = 0; k < kTaken; ++k) m[k] = float(bits >> uint(k) & 1u);
    } else if (one_plane) {
        float shared_by_all = maskOf(n, planes[0], place);
        [[unroll]] for (int k = 0; k < kTaken; ++k) m[k] = shared_by_all;
    } else {
        [[unroll]] for (int k = 0; k < kTaken; ++k)
            m[k] = maskOf(n, planes[k & kChannels - 1], ivec3(place.x + (k & kColumns - 1), place.yz));
    }
}

void main() {
    int lanes = int(gl_WorkGroupSize.x);
    int lane = int(gl_LocalInvocationID.x);
    int c = push.c0 + int(gl_WorkGroupID.x) * kChannels;
    int n = push.n0 + int(gl_WorkGroupID.y);
    int parts = int(gl_NumWorkGroups.z);
    int width = push.width / kColumns;
    int steps = push.rows * width;
    int steps_a_part = (steps + lanes * parts - 1) / (lanes * parts);
    int first = int(gl_WorkGroupID.z) * steps_a_part * lanes + lane;
    int end = min(steps, (int(gl_WorkGroupID.z) + 1) * steps_a_part * lanes);
    ivec2 size = ivec2(width, push.height);
    ivec3 step_ = placeOf(lanes, size);
    ivec3 place = placeOf(push.row0 * width + first, size);

    int planes[kChannels];
    bool one_plane = kFours == FOURS_OF_CHANNELS;
    float means[kChannels];
    [[unroll]] for (int k = 0; k < kChannels; ++k) {
        planes[k] = kMaskKind == MASK_NONE ? 0 : planeOfRun(runOf(c + k, push.channels));
        one_plane = one_plane && planes[k] == planes[0];
        means[k] = push.deviations != 0 ? statistics[c + k] : 0.0;
    }
    int origin = push.x_base + n * push.x_stride_n + c * push.x_stride_c;
    float values[kTaken];
    float values_lost[kTaken];
    float masks[kTaken];
    float masks_lost[kTaken];
    [[unroll]] for (int k = 0; k < kTaken; ++k) values[k] = values_lost[k] = masks[k] = masks_lost[k] = 0.0;
    for (int at = first; at < end; at += lanes) {
        int column = place.x * kColumns;
        int from = origin + place.z * push.x_stride_d + place.y * push.x_stride_h + column * push.x_stride_w;
        vec4 taken = kFours == FOURS_NONE ? vec4(FROM_ELEMENT(x[from])) : FROM_ELEMENT4(x4[from >> 2]);
        float m[kTaken];
        readMasks(n, planes, one_plane, ivec3(column, place.yz), m);
        [[unroll]] for (int k = 0; k < kTaken; ++k) {
            float value = m[k] != 0.0 ? taken[k] : 0.0;
            if (push.deviations != 0) {
                float deviation = (value - means[k & kChannels - 1]) * m[k];
                value = deviation * deviation;
            }
            addTo(values[k], values_lost[k], value);
            // Whole numbers that a lane counts are exact.
            if (kMaskKind == MASK_FRACTIONAL)
                addTo(masks[k], masks_lost[k], m[k]);
            else
                masks[k] += m[k];
        }
        place = advance(place, step_, size);
    }
    [[unroll]] for (int k = kChannels; k < kTaken; ++k) {
        addTo(values[0], values_lost[0], values[k]);
        values_lost[0] += values_lost[k];
        addTo(masks[0], masks_lost[0], masks[k]);
        masks_lost[0] += masks_lost[k];
    }
    [[unroll]] for (int k = 0; k < kChannels; ++k) {
        float value = joinLanes(values[k], values_lost[k]);
        float mask = joinLanes(masks[k], masks_lost[k]);
        if (lane == 0) {
            int to = 2 * ((n * push.channels + c + k) * parts + int(gl_WorkGroupID.z));
            sums[to] = (push.add != 0 ? sums[to] : 0.0) + value;
            sums[to + 1] = (push.add != 0 ? sums[to + 1] : 0.0) + mask;
        }
    }
}
