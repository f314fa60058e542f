// The passes. Included once by one file for each instruction set, which names in PCONV_PASSES the function
// that returns them.
#pragma once

#include "cpu/passes/direct_kernels.h"
#include "cpu/passes/gelu.h"
#include "cpu/passes/half_tile.h"
#include "cpu/passes/load_kernels.h"
#include "cpu/passes/passes.h"
#include "cpu/passes/vector.h"
#include "cpu/passes/winograd_kernels.h"

namespace pconv::cpu {

namespace {

template <Activation activation>
PCONV_INLINE Vec activate(Vec y, float negative_slope) {
    if constexpr (activation == Activation::none) return y;
    if constexpr (activation == Activation::gelu) return gelu(y);
    const Bits negative = y < 0.0F;
    if constexpr (activation == Activation::relu) return select(y, ~negative);
    return reinterpret_cast<Vec>((reinterpret_cast<Bits>(y) & ~negative) |
                                 (reinterpret_cast<Bits>(y * negative_slope) & negative));
}

// Ratio and updated mask of one vector of pixels, or of one pixel for all channels.
struct Scale {
    Vec ratio;
    Vec updated;
    Bits valid;
};

template <bool fractional>
PCONV_INLINE Scale scaleOf(const StoreRun& run, int64_t channel, int64_t pixel, int64_t count = kLanes) {
    const ptrdiff_t at =
        (run.group_channels >= run.channels ? 0 : channel / run.group_channels * run.group_stride) + pixel;
    Scale scale{};
    if (run.ratio == nullptr)
        scale.ratio = Vec{} + 1.0F;
    else
        scale.ratio = count == kLanes ? load(run.ratio + at) : loadPart(run.ratio + at, count);
    if constexpr (fractional)
        scale.updated =
            count == kLanes ? load(run.updated_mask + at) : loadPart(run.updated_mask + at, count);
    scale.valid = (fractional ? scale.updated : scale.ratio) != 0.0F;
    return scale;
}

template <bool fractional, Activation activation>
PCONV_INLINE Vec finished(Vec sum, const StoreRun& run, const Scale& scale, Vec bias) {
    Vec y = sum * scale.ratio + bias;
    if constexpr (fractional)
        if (run.bias != nullptr) y = y * scale.updated;
    return activate<activation>(select(y, scale.valid), run.negative_slope);
}

PCONV_INLINE Vec biasOf(const StoreRun& run, int64_t channel) {
    return Vec{} + (run.bias == nullptr ? 0.0F : run.bias[channel]);
}

PCONV_INLINE const float* sumsOf(const StoreRun& run, int64_t channel, int64_t pixel) {
    return run.scratch + channel / run.block * run.block_stride + pixel * run.block + channel % run.block;
}

template <bool fractional, Activation activation>
PCONV_INLINE void storeFullTile(const StoreRun& run, const float* from, const float* bias, int64_t pixel,
                                float* to) {
    Vec rows[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) rows[i] = load(from + i * run.block);
    transpose(rows);
    const Scale scale = scaleOf<fractional>(run, 0, pixel);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i)
        store(to + i * run.channel_stride,
              finished<fractional, activation>(rows[i], run, scale, Vec{} + bias[i]));
}

template <bool fractional, Activation activation>
PCONV_INLINE void storeHalfTile(const StoreRun& run, const float* from, const float* bias, int64_t pixel,
                                float* to) {
    Vec rows[kHalf];
    loadPixelPairs(rows, from, run.block);
    transposeHalf(rows);
    const Scale scale = scaleOf<fractional>(run, 0, pixel);
#pragma GCC unroll 8
    for (int i = 0; i < kHalf; ++i)
        store(to + i * run.channel_stride,
              finished<fractional, activation>(rows[i], run, scale, Vec{} + bias[i]));
}

// Fewer channels or pixels than lanes, or several ratios.
template <bool fractional, Activation activation>
void storePartTile(const StoreRun& run, int64_t channel, int64_t width, int64_t pixel, int64_t count) {
    Vec rows[kLanes];
    const float* from = sumsOf(run, channel, pixel);
    for (int i = 0; i < kLanes; ++i) rows[i] = i < count ? load(from + i * run.block) : Vec{};
    transpose(rows);
    float* to = run.output + channel * run.channel_stride + pixel;
    for (int64_t i = 0; i < width; ++i) {
        const Scale scale = scaleOf<fractional>(run, channel + i, pixel, count);
        const Vec y = finished<fractional, activation>(rows[i], run, scale, biasOf(run, channel + i));
        if (count == kLanes)
            store(to + i * run.channel_stride, y);
        else
            storePart(to + i * run.channel_stride, y, count);
    }
}

template <bool fractional, Activation activation>
void storeTransposed(const StoreRun& run) {
    const bool same_scale = run.group_channels >= run.channels;
    const int64_t count = least(kLanes, run.pixels);
    constexpr float kNoBias[kLanes]{};
    for (int64_t c = 0; c < run.channels;) {
        const int64_t width = least(least(kLanes, run.channels - c), run.block - c % run.block);
        const float* from = sumsOf(run, c, 0);
        const float* bias = run.bias == nullptr ? kNoBias : run.bias + c;
        float* to = run.output + c * run.channel_stride;
        for (int64_t at = 0; at < run.pixels; at += kLanes) {
            const int64_t pixel = least(at, run.pixels - count);
            if (same_scale && width == kLanes && count == kLanes)
                storeFullTile<fractional, activation>(run, from + pixel * run.block, bias, pixel, to + pixel);
            else if (same_scale && width == kHalf && count == kLanes)
                storeHalfTile<fractional, activation>(run, from + pixel * run.block, bias, pixel, to + pixel);
            else
                storePartTile<fractional, activation>(run, c, width, pixel, count);
        }
        c += width;
    }
}

template <bool fractional, Activation activation>
void storePlanar(const StoreRun& run) {
    for (int64_t c = 0; c < run.channels; ++c) {
        const float* from = sumsOf(run, c, 0);
        float* to = run.output + c * run.channel_stride;
        const Vec bias = biasOf(run, c);
        int64_t p = 0;
        for (; p + kLanes <= run.pixels; p += kLanes) {
            const Scale scale = scaleOf<fractional>(run, c, p);
            store(to + p, finished<fractional, activation>(load(from + p), run, scale, bias));
        }
        if (p < run.pixels) {
            const int64_t count = run.pixels - p;
            const Scale scale = scaleOf<fractional>(run, c, p, count);
            storePart(to + p, finished<fractional, activation>(loadPart(from + p, count), run, scale, bias),
                      count);
        }
    }
}

template <bool fractional>
PCONV_INLINE Scale scaleOfPixel(const StoreRun& run, int64_t channel, int64_t pixel) {
    const ptrdiff_t at =
        (run.group_channels >= run.channels ? 0 : channel / run.group_channels * run.group_stride) + pixel;
    Scale scale{};
    scale.ratio = scale.ratio + (run.ratio == nullptr ? 1.0F : run.ratio[at]);
    if constexpr (fractional) scale.updated = scale.updated + run.updated_mask[at];
    scale.valid = (fractional ? scale.updated : scale.ratio) != 0.0F;
    return scale;
}

// One pixel's channels of the block that begins with channel `first`.
template <bool fractional, Activation activation, bool same_scale>
PCONV_INLINE void storePixel(const StoreRun& run, int64_t first, const float* block, int64_t pixel,
                             Scale scale) {
    constexpr float kNoBias[kLanes]{};
    const float* from = block + pixel * run.block;
    const int64_t count = least(run.block, run.channels - first);
    for (int64_t c = 0; c < count;) {
        int64_t width = least(kLanes, count - c);
        if constexpr (!same_scale) {
            scale = scaleOfPixel<fractional>(run, first + c, pixel);
            width = least(width, run.group_channels - (first + c) % run.group_channels);
        }
        const float* bias = run.bias == nullptr ? kNoBias : run.bias + first + c;
        float* to = run.output + pixel * run.pixel_stride + first + c;
        if (width == kLanes) {
            store(to, finished<fractional, activation>(load(from + c), run, scale, load(bias)));
        } else if (width >= kHalf) {
            width = kHalf;
            storeHalf(to, finished<fractional, activation>(loadHalf(from + c), run, scale, loadHalf(bias)));
        } else {
            const Vec sum = loadPart(from + c, width);
            storePart(to, finished<fractional, activation>(sum, run, scale, loadPart(bias, width)), width);
        }
        c += width;
    }
}

// A few pixels at a time, block by block: the blocks of one lie at distances that meet in few of the first
// cache's sets.
template <bool fractional, Activation activation, bool same_scale>
PCONV_INLINE void storePixels(const StoreRun& run) {
    for (int64_t first = 0; first < run.pixels; first += kLanes) {
        const int64_t pixels = least(kLanes, run.pixels - first);
        Scale scales[kLanes];
        for (int64_t i = 0; i < pixels; ++i) scales[i] = scaleOfPixel<fractional>(run, 0, first + i);
        const float* block = run.scratch;
        for (int64_t c = 0; c < run.channels; c += run.block, block += run.block_stride)
            for (int64_t i = 0; i < pixels; ++i)
                storePixel<fractional, activation, same_scale>(run, c, block, first + i, scales[i]);
    }
}

// Pixels of half a vector or a few whole ones, one after another.
template <bool fractional, Activation activation, int halves>
void storeWholePixels(const StoreRun& run) {
    constexpr bool kOneHalf = halves == 1;
    constexpr int kVectors = kOneHalf ? 1 : halves / 2;
    Vec bias[kVectors]{};
    if (run.bias != nullptr)
        for (int v = 0; v < kVectors; ++v) bias[v] = loadSome<kOneHalf>(run.bias + v * kLanes);
    for (int64_t p = 0; p < run.pixels; ++p) {
        const Scale scale = scaleOfPixel<fractional>(run, 0, p);
        const float* from = run.scratch + p * halves * kHalf;
        float* to = run.output + p * run.pixel_stride;
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
            storeSome<kOneHalf>(
                to + v * kLanes,
                finished<fractional, activation>(loadSome<kOneHalf>(from + v * kLanes), run, scale, bias[v]));
    }
}

template <bool fractional, Activation activation>
void storeInterleaved(const StoreRun& shared) {
    const StoreRun run = shared;  // which no store of a pixel can change
    const bool same_scale = run.group_channels >= run.channels;
    if (same_scale && run.block == run.channels) {
        if (run.channels == kHalf) return storeWholePixels<fractional, activation, 1>(run);
        if (run.channels == 2 * kHalf) return storeWholePixels<fractional, activation, 2>(run);
        if (run.channels == 4 * kHalf) return storeWholePixels<fractional, activation, 4>(run);
        if (run.channels == 8 * kHalf) return storeWholePixels<fractional, activation, 8>(run);
    }
    if (same_scale)
        storePixels<fractional, activation, true>(run);
    else
        storePixels<fractional, activation, false>(run);
}

// Planes to channels-last: a square of pixels and channels, or a part of one.
template <bool fractional, Activation activation, bool whole>
PCONV_INLINE void storeSquare(const StoreRun& run, int64_t pixel, int64_t channel, int64_t count,
                              int64_t width) {
    const bool same_scale = run.group_channels >= run.channels;
    Scale scale{};
    if (same_scale) scale = scaleOf<fractional>(run, 0, pixel, count);
    Vec rows[kLanes];
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
        rows[i] = Vec{};
        if (!whole && i >= width) continue;
        const float* from = sumsOf(run, channel + i, pixel);
        if (!same_scale) scale = scaleOf<fractional>(run, channel + i, pixel, count);
        rows[i] = finished<fractional, activation>(whole ? load(from) : loadPart(from, count), run, scale,
                                                   biasOf(run, channel + i));
    }
    transpose(rows);
    float* to = run.output + pixel * run.pixel_stride + channel;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i, to += run.pixel_stride) {
        if (!whole && i >= count) break;
        if (whole)
            store(to, rows[i]);
        else
            storePart(to, rows[i], width);
    }
}

template <bool fractional, Activation activation>
void storeFromPlanes(const StoreRun& run) {
    for (int64_t p = 0; p < run.pixels; p += kLanes)
        for (int64_t c = 0; c < run.channels; c += kLanes) {
            const int64_t count = least(kLanes, run.pixels - p);
            const int64_t width = least(kLanes, run.channels - c);
            if (count == kLanes && width == kLanes)
                storeSquare<fractional, activation, true>(run, p, c, kLanes, kLanes);
            else
                storeSquare<fractional, activation, false>(run, p, c, count, width);
        }
}

template <bool fractional, Activation activation>
void storeAnyOrder(const StoreRun& run) {
    for (int64_t p = 0; p < run.pixels; ++p)
        for (int64_t c = 0; c < run.channels; ++c) {
            const Vec sum = Vec{} + *sumsOf(run, c, p);
            const Vec y = finished<fractional, activation>(sum, run, scaleOfPixel<fractional>(run, c, p),
                                                           biasOf(run, c));
            run.output[c * run.channel_stride + p * run.pixel_stride] = y[0];
        }
}

template <bool fractional, Activation activation>
void storeFinished(const StoreRun& run) {
    if (run.pixel_stride == 1 && run.block == 1) return storePlanar<fractional, activation>(run);
    if (run.pixel_stride == 1) return storeTransposed<fractional, activation>(run);
    if (run.channel_stride == 1 && run.block > 1) return storeInterleaved<fractional, activation>(run);
    if (run.channel_stride == 1) return storeFromPlanes<fractional, activation>(run);
    storeAnyOrder<fractional, activation>(run);
}

template <bool fractional>
void storeActivated(const StoreRun& run) {
    if (run.activation == Activation::none) return storeFinished<fractional, Activation::none>(run);
    if (run.activation == Activation::relu) return storeFinished<fractional, Activation::relu>(run);
    if (run.activation == Activation::gelu) return storeFinished<fractional, Activation::gelu>(run);
    storeFinished<fractional, Activation::leaky_relu>(run);
}

void storeRun(const StoreRun& run) {
    if (run.updated_mask != nullptr) return storeActivated<true>(run);
    storeActivated<false>(run);
}

// `width` 0: that of the run.
template <int64_t width>
void spreadGroups(const SpreadRun& run) {
    const int64_t floats = width == 0 ? run.width : width;
    for (int64_t p = 0; p < run.pixels; ++p) {
        const float* __restrict from = run.from + p * run.from_step;
        float* __restrict to = run.to + p * run.to_step;
        if (run.add)
            for (int64_t i = 0; i < floats; ++i) to[i] += from[i];
        else
            for (int64_t i = 0; i < floats; ++i) to[i] = from[i];
    }
}

void spreadRun(const SpreadRun& run) {
    if (run.width == 16) return spreadGroups<16>(run);
    if (run.width == 8) return spreadGroups<8>(run);
    if (run.width == 1) return spreadGroups<1>(run);
    spreadGroups<0>(run);
}

void countRows(uint8_t* __restrict counts, const uint8_t* __restrict rows, ptrdiff_t row_stride,
               int64_t rows_count, int64_t size) {
    for (int64_t i = 0; i < size; ++i) counts[i] = rows[i] != 0 ? 1 : 0;
    for (int64_t r = 1; r < rows_count; ++r) {
        const uint8_t* __restrict row = rows + r * row_stride;
        for (int64_t i = 0; i < size; ++i)
            counts[i] = static_cast<uint8_t>(counts[i] + (row[i] != 0 ? 1 : 0));
    }
}

void addCounts(float* __restrict sums, const uint8_t* __restrict row, float base, float scale, int64_t size) {
    for (int64_t i = 0; i < size; ++i) sums[i] += base + scale * static_cast<float>(row[i]);
}

void addFractions(double* __restrict sums, const float* __restrict row, double base, double scale,
                  int64_t size) {
    for (int64_t i = 0; i < size; ++i) sums[i] += base + scale * static_cast<double>(row[i]);
}

template <typename T, typename V>
void sumRows(T* __restrict sums, const T* const* rows, int64_t rows_count, int64_t size) {
    constexpr int64_t kWidth = sizeof(V) / sizeof(T);
    int64_t i = 0;
    for (; i + 2 * kWidth <= size; i += 2 * kWidth) {
        V first = loadAs<V>(rows[0] + i);
        V second = loadAs<V>(rows[0] + i + kWidth);
        for (int64_t r = 1; r < rows_count; ++r) {
            first += loadAs<V>(rows[r] + i);
            second += loadAs<V>(rows[r] + i + kWidth);
        }
        __builtin_memcpy(sums + i, &first, sizeof first);
        __builtin_memcpy(sums + i + kWidth, &second, sizeof second);
    }
    for (; i < size; ++i) {
        T sum = rows[0][i];
        for (int64_t r = 1; r < rows_count; ++r) sum += rows[r][i];
        sums[i] = sum;
    }
}

void gather(float* __restrict to, const float* __restrict from, int64_t stride, int64_t size) {
    if (stride == 2)
        for (int64_t i = 0; i < size; ++i) to[i] = from[i * 2];
    else
        for (int64_t i = 0; i < size; ++i) to[i] = from[i * stride];
}

template <typename Sum, typename Updated, bool window_ratio>
void finish(const MaskResultRow& row, Updated* __restrict updated, const Sum* __restrict sums, int64_t size) {
    float* __restrict ratio = row.ratio;
    const float window = row.window;
    const float eps = row.eps;
    for (int64_t i = 0; i < size; ++i) {
        const float s = static_cast<float>(sums[i]);
        const bool any = s > 0;
        const float u = !any ? 0.0F : window_ratio && s < 1 ? s : 1.0F;
        const float divisor = any ? (window_ratio ? s + eps : s) : 1.0F;
        ratio[i] = (window_ratio ? window : 1.0F) / divisor * u;
        updated[i] = static_cast<Updated>(u);
    }
}

template <typename Sum>
void finishRow(const MaskResultRow& row, const Sum* sums, int64_t size) {
    if (row.window_sum != nullptr)
        for (int64_t i = 0; i < size; ++i) row.window_sum[i] = static_cast<float>(sums[i]);
    const bool window_ratio = row.normalization == Normalization::window_ratio;
    if (row.updated_binary != nullptr && window_ratio)
        return finish<Sum, uint8_t, true>(row, row.updated_binary, sums, size);
    if (row.updated_binary != nullptr)
        return finish<Sum, uint8_t, false>(row, row.updated_binary, sums, size);
    if (window_ratio) return finish<Sum, float, true>(row, row.updated_fractional, sums, size);
    finish<Sum, float, false>(row, row.updated_fractional, sums, size);
}

}  // namespace

}  // namespace pconv::cpu

#include "cpu/passes/gradient_kernels.h"

namespace pconv::cpu {

const Passes& PCONV_PASSES() {
    static const Passes all{loadRun,
                            storeRun,
                            spreadRun,
                            convolveRun,
                            loadTiles,
                            multiplyTiles,
                            storeTiles,
                            unloadRun,
                            sumBias,
                            countRows,
                            addCounts,
                            addFractions,
                            sumRows<float, Vec>,
                            sumRows<double, DoubleVec>,
                            gather,
                            finishRow<float>,
                            finishRow<double>};
    return all;
}

}  // namespace pconv::cpu
