// What the passes of networks share: an invocation for each output element of a box, along the output's dense axis.
#ifndef PASS_OUTPUTS_GLSL
#define PASS_OUTPUTS_GLSL

#include "element.glsl"
#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;
layout(constant_id = SPEC_CHANNELS_INSIDE) const int kChannelsInside = 0;

struct Place {
    int n, c, d, h, w;
};

// From an index into a box [n, c, d, h, w] of these sizes.
Place placeAt(int id, ivec4 size) {
    Place p;
    if (kChannelsInside != 0) {
        p.c = id % size.x;
        id /= size.x;
    }
    p.w = id % size.w;
    id /= size.w;
    p.h = id % size.z;
    id /= size.z;
    p.d = id % size.y;
    id /= size.y;
    if (kChannelsInside == 0) {
        p.c = id % size.x;
        id /= size.x;
    }
    p.n = id;
    return p;
}

#endif
