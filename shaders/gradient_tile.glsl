// The register tile of the gradients' matrix products, whose long sums are compensated.
#ifndef GRADIENT_TILE_GLSL
#define GRADIENT_TILE_GLSL

// Lanes store many rows of a few columns, and so meet a bank no oftener than they must.
#define B_PADDING 4
#include "register_tile.glsl"
#include "sum.glsl"

const int kTile = kThreadM * kThreadN;
const int kSlices = 8;  // whose products are added up plainly before they join the sum

float total[kTile];
float lost[kTile];

void clearTile() {
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        acc[i] = 0.0;
        total[i] = 0.0;
        lost[i] = 0.0;
    }
}

void flush() {
    [[unroll]] for (int i = 0; i < kTile; ++i) {
        addTo(total[i], lost[i], acc[i]);
        acc[i] = 0.0;
    }
}

#endif
