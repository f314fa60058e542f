// Winograd's convolution of 3x3 windows in tiles of 4x4 outputs, F(4x4, 3x3): inputs into the 36 places of
// their tiles, the product at a place, and sums back into rows; a part of kernels.h. The polynomials are
// taken at 0, +-sqrt(1/2), +-sqrt(2) and infinity, whose transforms lose less than those at whole numbers.
// Lavin, Gray: Fast Algorithms for Convolutional Neural Networks (2016).
#pragma once

#include "cpu/passes/passes.h"
#include "cpu/passes/vector.h"

namespace pconv::cpu {

namespace {

// Columns first, first + 1 of tiles of four that lie one after another in two vectors.
template <int first, int... i>
PCONV_INLINE Vec columnPair(Vec a, Vec b, std::integer_sequence<int, i...> /*lanes*/) {
    constexpr int kHalfLanes = kLanes / 2;
    return __builtin_shufflevector(a, b, (i % kHalfLanes * 4 + first + i / kHalfLanes)...);
}

// The lower or the upper halves of two vectors.
template <int half, int... i>
PCONV_INLINE Vec joinedHalves(Vec a, Vec b, std::integer_sequence<int, i...> /*lanes*/) {
    constexpr int kHalfLanes = kLanes / 2;
    return __builtin_shufflevector(a, b, (half * kHalfLanes + i % kHalfLanes + i / kHalfLanes * kLanes)...);
}

// Two columns of as many tiles as there are lanes.
template <int first>
PCONV_INLINE void loadColumnPair(const float* from, Vec* columns) {
    const Vec low = columnPair<first>(load(from), load(from + kLanes), Lanes{});
    const Vec high = columnPair<first>(load(from + 2 * kLanes), load(from + 3 * kLanes), Lanes{});
    columns[0] = joinedHalves<0>(low, high, Lanes{});
    columns[1] = joinedHalves<1>(low, high, Lanes{});
}

constexpr float kRootOfHalf = 0.70710678118654752F;
constexpr float kRootOfTwo = 1.41421356237309505F;

PCONV_INLINE void transformInput(const Vec* d, Vec* t) {
    const Vec even_near = d[4] - 2.0F * d[2];
    const Vec odd_near = kRootOfHalf * d[3] - kRootOfTwo * d[1];
    const Vec even_far = d[4] - 0.5F * d[2];
    const Vec odd_far = kRootOfTwo * d[3] - kRootOfHalf * d[1];
    t[0] = d[0] + d[4] - 2.5F * d[2];
    t[1] = even_near + odd_near;
    t[2] = even_near - odd_near;
    t[3] = even_far + odd_far;
    t[4] = even_far - odd_far;
    t[5] = d[1] + d[5] - 2.5F * d[3];
}

PCONV_INLINE void transformOutput(const Vec* m, Vec* y) {
    const Vec even_near = m[1] + m[2];
    const Vec odd_near = m[1] - m[2];
    const Vec even_far = m[3] + m[4];
    const Vec odd_far = m[3] - m[4];
    y[0] = m[0] + even_near + even_far;
    y[1] = kRootOfHalf * odd_near + kRootOfTwo * odd_far;
    y[2] = 0.5F * even_near + 2.0F * even_far;
    y[3] = 0.5F * kRootOfHalf * odd_near + 2.0F * kRootOfTwo * odd_far + m[5];
}

// Down the columns of each run of tiles; what a tile shares with the one behind it is put down a second time,
// since in `lines` the next run follows.
PCONV_INLINE void transformDown(const WinogradInput& input, const TileRun& run, int64_t at) {
    const float* const* rows = input.rows + run.row * kTileOutputs;
    const int64_t column = run.column * kTileOutputs;
    const int64_t size = run.count * kTileOutputs;
    float* line = input.lines + at * kTileOutputs;
    for (int64_t x = 0; x < size + kTileInputs - kTileOutputs; x += kLanes) {
        Vec d[kTileInputs];
        Vec t[kTileInputs];
#pragma GCC unroll 6
        for (int i = 0; i < kTileInputs; ++i) d[i] = load(rows[i] + column + x);
        transformInput(d, t);
#pragma GCC unroll 6
        for (int i = 0; i < kTileInputs; ++i) store(line + i * input.line_stride + x, t[i]);
    }
    float* behind = line + kTileInputs * input.line_stride;
    for (int i = 0; i < kTileInputs; ++i)
        for (int64_t x = 0; x < size; x += kLanes)
            store(behind + i * input.line_stride + x, load(line + i * input.line_stride + x + kTileOutputs));
}

void loadTiles(const WinogradInput& input) {
    int64_t at = 0;
    for (int64_t i = 0; i < input.run_count; ++i) {
        transformDown(input, input.runs[i], at);
        at += input.runs[i].count;
    }
    for (int i = 0; i < 2 * kTileInputs; ++i)
        for (int64_t x = at * kTileOutputs; x < input.tiles * kTileOutputs; ++x)
            input.lines[i * input.line_stride + x] = 0;
    const float* behind = input.lines + kTileInputs * input.line_stride;
    for (int64_t t = 0; t < input.tiles; t += kLanes)
        for (int i = 0; i < kTileInputs; ++i) {
            const int64_t from = i * input.line_stride + t * kTileOutputs;
            Vec d[kTileInputs];
            Vec v[kTileInputs];
            loadColumnPair<0>(input.lines + from, d);
            loadColumnPair<2>(input.lines + from, d + 2);
            loadColumnPair<0>(behind + from, d + 4);
            transformInput(d, v);
            float* to = input.values + i * kTileInputs * input.place_stride + t;
#pragma GCC unroll 6
            for (int j = 0; j < kTileInputs; ++j) store(to + j * input.place_stride, v[j]);
        }
}

void storeTiles(const WinogradOutput& output) {
    for (int64_t t = 0; t < output.tiles; t += kLanes) {
        Vec h[kTileOutputs][kTileInputs];
#pragma GCC unroll 6
        for (int j = 0; j < kTileInputs; ++j) {
            Vec m[kTileInputs];
            Vec y[kTileOutputs];
#pragma GCC unroll 6
            for (int i = 0; i < kTileInputs; ++i)
                m[i] = load(output.sums + (i * kTileInputs + j) * output.place_stride + t);
            transformOutput(m, y);
#pragma GCC unroll 4
            for (int r = 0; r < kTileOutputs; ++r) h[r][j] = y[r];
        }
#pragma GCC unroll 4
        for (int r = 0; r < kTileOutputs; ++r) {
            Vec y[kTileOutputs];
            transformOutput(h[r], y);
            storeInterleavedVectors<kTileOutputs>(output.rows + r * output.row_stride + t * kTileOutputs, y);
        }
    }
}

#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kOutputsAtOnce = 8;
#else
constexpr int kOutputsAtOnce = 4;
#endif
static_assert(kOutputBlock % kOutputsAtOnce == 0);

template <int vectors>
PCONV_INLINE void multiplyPart(const WinogradProduct& product, const float* weights, const float* values,
                               float* sums) {
    Vec sum[kOutputsAtOnce][vectors]{};
    for (int64_t c = 0; c < product.channels; ++c) {
        Vec x[vectors];
#pragma GCC unroll 3
        for (int v = 0; v < vectors; ++v) x[v] = load(values + v * kLanes);
#pragma GCC unroll 8
        for (int o = 0; o < kOutputsAtOnce; ++o) {
            const Vec weight = weights[o] - Vec{};
#pragma GCC unroll 3
            for (int v = 0; v < vectors; ++v) sum[o][v] += x[v] * weight;
        }
        values += product.tiles;
        weights += kOutputBlock;
    }
    for (int o = 0; o < kOutputsAtOnce; ++o)
        for (int v = 0; v < vectors; ++v) store(sums + o * product.tiles + v * kLanes, sum[o][v]);
}

template <int vectors>
void multiplyColumns(const WinogradProduct& product, int64_t tile) {
    const int64_t block_size = product.channels * kOutputBlock;
    for (int64_t block = 0; block < product.blocks; ++block)
        for (int64_t o = 0; o < kOutputBlock; o += kOutputsAtOnce)
            multiplyPart<vectors>(product, product.weights + block * block_size + o, product.values + tile,
                                  product.sums + (block * kOutputBlock + o) * product.tiles + tile);
}

void multiplyTiles(const WinogradProduct& product) {
    for (int64_t tile = 0; tile < product.tiles;) {
        const int64_t left = (product.tiles - tile) / kLanes;
        // Two and two rather than three and one.
        const int64_t vectors = left == 4 ? 2 : left < 3 ? left : 3;
        if (vectors == 3)
            multiplyColumns<3>(product, tile);
        else if (vectors == 2)
            multiplyColumns<2>(product, tile);
        else
            multiplyColumns<1>(product, tile);
        tile += vectors * kLanes;
    }
}

}  // namespace

}  // namespace pconv::cpu
