// Elements of 1, 2 or 4 bytes of any kind, copied by the words they lie in. Needs no 8- or 16-bit storage.
#ifndef WORDS_GLSL
#define WORDS_GLSL

#include "specialization.h"

layout(constant_id = SPEC_BYTES) const int kBytes = 4;

const int kElements = 4 / kBytes;  // of a word
const int kBits = 8 * kBytes;

layout(binding = 0) restrict readonly buffer Source {
    uint source[];
};
layout(binding = 1) restrict buffer Destination {
    uint destination[];
};

uint elementOf(int at) {
    uint word = source[at / kElements];
    return kBytes == 4 ? word : bitfieldExtract(word, at % kElements * kBits, kBits);
}

// A word as its elements come together, and which of its bits have.
struct Word {
    uint value, mask;
};

void put(inout Word word, int k, uint element) {
    word.value |= element << uint(k * kBits);
    word.mask |= (kBytes == 4 ? 0xFFFFFFFFu : (1u << uint(kBits)) - 1u) << uint(k * kBits);
}

void write(int at, Word word) {
    if (word.mask == 0xFFFFFFFFu) {
        destination[at] = word.value;
    } else if (word.mask != 0u) {
        // The rest of the word is another invocation's, or another tensor's.
        atomicAnd(destination[at], ~word.mask);
        atomicOr(destination[at], word.value);
    }
}

#endif
