// Sums that a workgroup's invocations made in parts, joined in a fixed order.
#ifndef WORKGROUP_SUM_GLSL
#define WORKGROUP_SUM_GLSL

#include "specialization.h"
#include "sum.glsl"

shared float lane_sums[MOST_SHARED_LANES];
shared float lane_losts[MOST_SHARED_LANES];

// The sum of all invocations' sums, in the first; called by all.
float joinLanes(float sum, float lost) {
    int lane = int(gl_LocalInvocationID.x);
    lane_sums[lane] = sum;
    lane_losts[lane] = lost;
    barrier();
    for (int half_lanes = int(gl_WorkGroupSize.x) / 2; half_lanes > 0; half_lanes /= 2) {
        if (lane < half_lanes) {
            addTo(sum, lost, lane_sums[lane + half_lanes]);
            lost += lane_losts[lane + half_lanes];
            lane_sums[lane] = sum;
            lane_losts[lane] = lost;
        }
        barrier();
    }
    return sum - lost;
}

#endif
