// Nearest upsampling of elements of 1, 2 or 4 bytes: an invocation makes one word along the axis that is dense in the
// destination, and writes it wherever the other axes repeat it.
#version 450
#extension GL_GOOGLE_include_directive : require

#include "words.glsl"

layout(local_size_x_id = SPEC_LANES) in;
layout(constant_id = SPEC_FACTOR) const int kFactor = 2;

layout(push_constant) uniform Push {
    int size_c, size_d, size_h, size_w;  // of the source's box; 1 along the dense axis
    int from_n, from_c, from_d, from_h, from_w;
    int to_n, to_c, to_d, to_h, to_w;        // of a step of the source
    int repeat_d, repeat_h, repeat_w;        // how often the source's elements are there, 1 along the dense axis
    int to_next_d, to_next_h, to_next_w;
    int dense_begin, dense_size;  // along the dense axis of the destination
    int dense_from;               // the source's stride along it
    int from_base, to_base;
    int words, count;
} push;

// Word `word` of those that elements `to` and on lie in.
void writeWord(int from, int to, int word) {
    int at = to / kElements + word;
    Word made = Word(0u, 0u);
    for (int k = 0; k < kElements; ++k) {
        int i = at * kElements + k - to;
        if (i < 0 || i >= push.dense_size) continue;
        put(made, k, elementOf(from + (push.dense_begin + i) / kFactor * push.dense_from));
    }
    write(at, made);
}

void main() {
    int id = int(gl_GlobalInvocationID.x);
    if (id >= push.count) return;
    int word = id % push.words;
    id /= push.words;
    int w = id % push.size_w;
    id /= push.size_w;
    int h = id % push.size_h;
    id /= push.size_h;
    int d = id % push.size_d;
    id /= push.size_d;
    int c = id % push.size_c;
    int n = id / push.size_c;
    int from = push.from_base + n * push.from_n + c * push.from_c + d * push.from_d + h * push.from_h + w * push.from_w;
    int to = push.to_base + n * push.to_n + c * push.to_c + d * push.to_d + h * push.to_h + w * push.to_w;
    for (int k = 0; k < push.repeat_d; ++k)
        for (int j = 0; j < push.repeat_h; ++j)
            for (int i = 0; i < push.repeat_w; ++i)
                writeWord(from, to + k * push.to_next_d + j * push.to_next_h + i * push.to_next_w, word);
}
