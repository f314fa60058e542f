// Invocations in one row although their workgroups may be more than one dimension of a dispatch takes: those of a grid of
// two dimensions, one row of workgroups after another.
#ifndef FLAT_GRID_GLSL
#define FLAT_GRID_GLSL

#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;  // before it is asked for

int flatInvocation() {
    return int((gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
}

#endif
