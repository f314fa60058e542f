// Elements around a tensor, made from it, with the tensor itself in the middle: an invocation makes one word along the axis
// that is dense in the destination.
#version 450
#extension GL_GOOGLE_include_directive : require

#include "words.glsl"

layout(local_size_x_id = SPEC_LANES) in;

layout(push_constant) uniform Push {
    int size_c, size_d, size_h, size_w;  // of the destination's box; 1 along the dense axis
    int from[5], to[5];                  // strides; that of the destination 0 along the dense axis
    int first[3];                        // where the box begins in the source, counted from its first element
    int extent[3];                       // of the source, D, H, W
    int mode;                            // PADDING_
    int from_base, to_base;
    int count;
    int dense, dense_size;  // the axis, 5 where there is none, and the box along it
    int words;              // along it
} push;

int sourceOf(int axis, int at) {
    int size = push.extent[axis];
    at += push.first[axis];
    if (at >= 0 && at < size) return at;
    if (push.mode == PADDING_REPLICATE) return at < 0 ? 0 : size - 1;
    if (push.mode == PADDING_CIRCULAR) return at < 0 ? at + size : at - size;
    return at < 0 ? -at : 2 * (size - 1) - at;
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    int word = id % push.words;
    id /= push.words;
    int at[6];
    at[4] = id % push.size_w;
    id /= push.size_w;
    at[3] = id % push.size_h;
    id /= push.size_h;
    at[2] = id % push.size_d;
    id /= push.size_d;
    at[1] = id % push.size_c;
    at[0] = id / push.size_c;
    at[5] = 0;
    int to = push.to_base + at[0] * push.to[0] + at[1] * push.to[1] + at[2] * push.to[2] + at[3] * push.to[3] +
             at[4] * push.to[4];
    int in_memory = to / kElements + word;
    Word made = Word(0u, 0u);
    for (int k = 0; k < kElements; ++k) {
        int i = in_memory * kElements + k - to;
        if (i < 0 || i >= push.dense_size) continue;
        at[push.dense] = i;
        int from = push.from_base + at[0] * push.from[0] + at[1] * push.from[1] + sourceOf(0, at[2]) * push.from[2] +
                   sourceOf(1, at[3]) * push.from[3] + sourceOf(2, at[4]) * push.from[4];
        put(made, k, elementOf(from));
    }
    write(in_memory, made);
}
