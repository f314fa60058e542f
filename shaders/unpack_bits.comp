// A mask's planes of bits as bytes of 0 and 1; rows of both begin at words. An invocation makes the word of four bytes.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "specialization.h"

layout(local_size_x_id = SPEC_LANES) in;

layout(binding = 0) restrict readonly buffer Bits {
    uint source[];
};
layout(binding = 1) restrict writeonly buffer Bytes {
    uint destination[];
};

layout(push_constant) uniform Push {
    int begin[5];  // of the box: batch, planes, D, H, words of four bytes
    int size[4];   // of the box but its batch
    int from[4], to[4];  // strides of rows in words
    int from_base, to_base;
    int count;
} push;

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    int word = push.begin[4] + id % push.size[3];
    id /= push.size[3];
    int at[4];
    for (int i = 3; i > 0; --i) {
        at[i] = push.begin[i] + id % push.size[i - 1];
        id /= push.size[i - 1];
    }
    at[0] = push.begin[0] + id;
    int from = push.from_base;
    int to = push.to_base;
    for (int i = 0; i < 4; ++i) {
        from += at[i] * push.from[i];
        to += at[i] * push.to[i];
    }
    uint bits = source[from + (word >> 3)] >> uint((word & 7) * 4);
    destination[to + word] = (bits & 1u) | (bits & 2u) << 7 | (bits & 4u) << 14 | (bits & 8u) << 21;
}
