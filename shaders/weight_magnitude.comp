// What an input channel weighs in an output channel of a masked convolution: its weights' magnitudes, summed over taps.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "element.glsl"
#include "specialization.h"
#include "sum.glsl"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) restrict readonly buffer Weight {
    ELEMENT weight[];
};
layout(binding = 1) restrict writeonly buffer Magnitude {
    float magnitude[];
};

layout(push_constant) uniform Push {
    int count;  // pairs of channels of this dispatch
    int taps;
    int weight_base, magnitude_base;  // element of the dispatch's first pair
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    float sum = 0.0;
    float lost = 0.0;
    for (int tap = 0; tap < push.taps; ++tap)
        addTo(sum, lost, abs(FROM_ELEMENT(weight[push.weight_base + id * push.taps + tap])));
    magnitude[push.magnitude_base + id] = sum;
}
