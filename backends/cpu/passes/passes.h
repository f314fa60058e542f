// The vectorized loops of the CPU fast path: the two passes around oneDNN's convolution, and rows of the mask
// side. Built once per instruction set; passes() picks the best the machine has.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend.h"

namespace pconv::cpu {

// A run of pixels copied, masked, into the scratch layout that the convolution reads:
// element (c, p) at [(c / block) * block_stride + p * block + c % block]; channels beyond the last are 0.
struct LoadRun {
    const float* source;
    ptrdiff_t channel_stride;
    ptrdiff_t pixel_stride;
    int64_t channels;
    int64_t pixels;
    MaskType mask;
    const void* const* planes;  // the run's first mask element for each channel, or for all
    bool one_plane;
    bool hole_is_one;
    float* scratch;
    int64_t block;
    ptrdiff_t block_stride;
};

// A run of accumulated pixels, laid out as above, through the epilogue into the output.
struct StoreRun {
    const float* scratch;  // may be the output itself where the layouts agree; readable kReadSlack beyond
    int64_t block;
    ptrdiff_t block_stride;
    const float* ratio;         // null: 1 everywhere
    const float* updated_mask;  // null for binary masks: 1 where the ratio is not 0
    ptrdiff_t group_stride;     // of ratio and updated_mask
    int64_t group_channels;     // channels that share a ratio
    const float* bias;          // null: none
    Activation activation;
    float negative_slope;
    float* output;
    ptrdiff_t channel_stride;
    ptrdiff_t pixel_stride;
    int64_t channels;
    int64_t pixels;
};

inline constexpr size_t kReadSlack = 64;

// Groups of `width` floats, `from_step` apart, put or added to places `to_step` apart.
struct SpreadRun {
    const float* from;
    float* to;
    ptrdiff_t from_step, to_step;
    int64_t width, pixels;
    bool add;
};

// Sums of a row of outputs of up to kMostDirectOutputs channels: the convolution of some input channels whose
// rows lie by planes, with what a window reaches beside them, readable kReadSlack beyond.
inline constexpr int64_t kMostDirectOutputs = 4;
struct DirectTap {
    ptrdiff_t input;    // its element for the first output, from `input`
    ptrdiff_t weights;  // one for each output channel, from `weights`
};
struct DirectRun {
    const float* input;
    ptrdiff_t channel_stride;
    int64_t channels;
    const DirectTap* taps;
    int64_t tap_count;
    const float* weights;
    ptrdiff_t weight_stride;  // of an input channel
    float* output;
    ptrdiff_t output_stride;
    int64_t out_channels;
    int64_t pixels;
    bool add;  // to what the output holds
};

// Winograd's F(4x4, 3x3): a tile of outputs from one of inputs, which are transformed into as many places; a
// convolution is a product of weights and values at each place.
inline constexpr int64_t kTileOutputs = 4;
inline constexpr int64_t kTileInputs = 6;
inline constexpr int64_t kTilePlaces = kTileInputs * kTileInputs;
inline constexpr int64_t kTileGrain = 16;   // whole vectors of tiles, in every instruction set
inline constexpr int64_t kOutputBlock = 8;  // output channels whose weights lie together

// Tiles of a row.
struct TileRun {
    int64_t row, column, count;  // in tiles
};

// One channel of runs of tiles, one after another.
struct WinogradInput {
    const float* const* rows;  // of inputs, four a row of tiles and two more; readable kReadSlack beyond
    const TileRun* runs;
    int64_t run_count;
    float* lines;           // 2 * kTileInputs of them, for its own use
    ptrdiff_t line_stride;  // at least kLineSlack more than four a tile
    float* values;          // tile t's at place p: [p * place_stride + t]
    ptrdiff_t place_stride;
    int64_t tiles;  // of all runs, rounded up to kTileGrain
};
inline constexpr int64_t kLineSlack = 32;

// At one place: sums[output][tile] of weights[block][channel][kOutputBlock] and values[channel][tile].
struct WinogradProduct {
    const float* weights;
    const float* values;
    float* sums;
    int64_t channels, blocks, tiles;
};

// One channel's sums at all places back into four rows, four outputs a tile.
struct WinogradOutput {
    const float* sums;  // as WinogradInput has values
    ptrdiff_t place_stride;
    int64_t tiles;
    float* rows;
    ptrdiff_t row_stride;
};

// A run of an input's gradient, laid out as LoadRun has it, masked into a tensor.
struct UnloadRun {
    const float* scratch;  // readable kReadSlack beyond
    int64_t block;
    ptrdiff_t block_stride;
    MaskType mask;
    const void* const* planes;
    bool one_plane;
    bool hole_is_one;
    bool selects;  // a fraction counts as 1
    bool accumulate;
    float* gradient;
    ptrdiff_t channel_stride;
    ptrdiff_t pixel_stride;
    int64_t channels;
    int64_t pixels;
};

// A run of an output's gradient, added up for each channel.
struct BiasRun {
    const float* source;
    ptrdiff_t channel_stride;
    ptrdiff_t pixel_stride;
    int64_t channels;
    int64_t pixels;
    const float* mask;  // null: none
    bool binary;        // any number of the mask but 0 is 1
    ptrdiff_t group_stride;
    int64_t group_channels;
    double* sums;  // one a channel
};

// One row of the results of the mask side.
struct MaskResultRow {
    float* window_sum;  // may be null
    float* ratio;
    uint8_t* updated_binary;  // one of the two
    float* updated_fractional;
    float window;
    float eps;
    Normalization normalization;
};

struct Passes {
    void (*load)(const LoadRun& run);
    void (*store)(const StoreRun& run);
    void (*spread)(const SpreadRun& run);
    void (*convolve)(const DirectRun& run);
    void (*loadTiles)(const WinogradInput& input);
    void (*multiplyTiles)(const WinogradProduct& product);
    void (*storeTiles)(const WinogradOutput& output);
    void (*unload)(const UnloadRun& run);
    void (*sumBias)(const BiasRun& run);
    // counts[i]: how many of up to 255 rows are not 0 at i
    void (*countRows)(uint8_t* counts, const uint8_t* rows, ptrdiff_t row_stride, int64_t rows_count,
                      int64_t size);
    // sums[i] += base + scale * row[i]
    void (*addCounts)(float* sums, const uint8_t* row, float base, float scale, int64_t size);
    void (*addFractions)(double* sums, const float* row, double base, double scale, int64_t size);
    // sums[i] = the sum of rows[...][i], at least one
    void (*sumRows)(float* sums, const float* const* rows, int64_t rows_count, int64_t size);
    void (*sumRowsDouble)(double* sums, const double* const* rows, int64_t rows_count, int64_t size);
    // to[i] = from[i * stride]
    void (*gather)(float* to, const float* from, int64_t stride, int64_t size);
    void (*finishRow)(const MaskResultRow& row, const float* sums, int64_t size);
    void (*finishRowDouble)(const MaskResultRow& row, const double* sums, int64_t size);
};

const Passes& passes();

// One for each instruction set that the compiler could build for.
const Passes& passesBaseline();
const Passes& passesAvx2();
const Passes& passesAvx512();

}  // namespace pconv::cpu
