// The planes of a packed mask, as mask_pack.comp makes them, and which of them a channel has. Who includes this says at
// which bindings they lie: MASK_BINDING, and RUNS_BINDING where channels look their plane up.
#ifndef MASK_PLANES_GLSL
#define MASK_PLANES_GLSL

#include "specialization.h"

layout(constant_id = SPEC_MASK_KIND) const int kMaskKind = MASK_BITS;

layout(binding = MASK_BINDING) restrict readonly buffer MaskBits {
    uint mask_bits[];
};
layout(binding = MASK_BINDING) restrict readonly buffer MaskValues {
    float mask_values[];
};

// The mask at a column of a row, which begins at this word; the column must lie inside it.
float maskValue(int row, int column) {
    if (kMaskKind == MASK_NONE) return 1.0;
    if (kMaskKind == MASK_BITS)
        return float(mask_bits[row + MASK_MARGIN_WORDS + (column >> 5)] >> (uint(column) & 31u) & 1u);
    return mask_values[row + column];
}

// Where the word that holds column x0 lies in a row of a bit plane; columns far outside find words of zeros.
int bitWord(int x0, int row_words) {
    return clamp((x0 >> 5) + MASK_MARGIN_WORDS, 0, row_words - 2);
}

// The bits from column x0 of a row on. A row that is not wanted may begin outside what is bound: it is not read.
uint rowBits(bool wanted, int row, int x0, int row_words) {
    int word = wanted ? row + bitWord(x0, row_words) : 0;
    uint low = mask_bits[word];
    uint high = mask_bits[word + 1];
    uint shift = uint(x0) & 31u;
    uint bits = shift == 0u ? low : (low >> shift) | (high << (32u - shift));
    return wanted ? bits : 0u;
}

#ifdef RUNS_BINDING
layout(binding = RUNS_BINDING) restrict readonly buffer Runs {
    int runs[];  // [channels] the run a channel is in, then for every run: plane, first channel, end
};

int runOf(int channel, int channels) {
    return channels + 3 * runs[channel];
}

int planeOfRun(int run) {
    return runs[run];
}

int endOfRun(int run) {
    return runs[run + 2];
}
#endif

#endif
