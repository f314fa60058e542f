// The passes. Included once by one file for each instruction set, which names in PCONV_PASSES the function
// that returns them.
#pragma once

#include "cpu_passes.h"
#include "cpu_vector.h"

namespace pconv::cpu {

namespace {

constexpr int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

// The mask of one vector of pixels: which are kept and, where fractional, by what they are multiplied.
struct Keep {
    Bits bits;
    Vec factor;
};

template <MaskType type>
PCONV_INLINE Keep keepOf(const LoadRun& run, int64_t channel, int64_t pixel, int64_t count) {
    Keep keep{};
    const void* plane = type == MaskType::none ? nullptr : run.planes[run.one_plane ? 0 : channel];
    if constexpr (type == MaskType::binary) {
        Bytes bytes{};
        __builtin_memcpy(&bytes, static_cast<const uint8_t*>(plane) + pixel, static_cast<size_t>(count));
        const Bits set = __builtin_convertvector(bytes, Bits) != 0;
        keep.bits = set ^ (run.hole_is_one ? -1 : 0);
    } else if constexpr (type == MaskType::fractional) {
        const Vec value = loadPart(static_cast<const float*>(plane) + pixel, count);
        keep.factor = run.hole_is_one ? 1.0F - value : value;
        keep.bits = keep.factor != 0.0F;
    }
    return keep;
}

template <MaskType type>
PCONV_INLINE Vec masked(Vec x, const Keep& keep) {
    if constexpr (type == MaskType::none) return x;
    if constexpr (type == MaskType::fractional) x = x * keep.factor;
    return select(x, keep.bits);
}

// kLanes channels of `count` pixels; `width` of those channels belong into the tile's place in the scratch.
template <MaskType type>
PCONV_INLINE void loadTile(const LoadRun& run, int64_t channel, int64_t pixel, int64_t count, int64_t width,
                           const Keep& shared) {
    Vec rows[kLanes];
    const float* source = run.source + pixel;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
        const int64_t c = channel + i;
        if (c >= run.channels) {
            rows[i] = Vec{};
            continue;
        }
        const Keep keep = run.one_plane ? shared : keepOf<type>(run, c, pixel, count);
        const float* from = source + c * run.channel_stride;
        rows[i] = masked<type>(count == kLanes ? load(from) : loadPart(from, count), keep);
    }
    transpose(rows);
    float* to =
        run.scratch + (channel / run.block) * run.block_stride + pixel * run.block + channel % run.block;
    // A narrow tile's stores spill into the next pixel, which is written after it; the last one must not.
    const int64_t last = width < kLanes ? count - 1 : count;
    if (count == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes - 1; ++i) store(to + i * run.block, rows[i]);
        if (last == kLanes)
            store(to + (kLanes - 1) * run.block, rows[kLanes - 1]);
        else
            storePart(to + (kLanes - 1) * run.block, rows[kLanes - 1], width);
        return;
    }
    for (int64_t i = 0; i < last; ++i) store(to + i * run.block, rows[i]);
    if (last < count) storePart(to + last * run.block, rows[last], width);
}

template <MaskType type>
void loadTransposed(const LoadRun& run) {
    const int64_t padded = (run.channels + run.block - 1) / run.block * run.block;
    const int64_t last_tile = (padded - 1) / kLanes * kLanes;
    for (int64_t at = 0; at < run.pixels; at += kLanes) {
        // The last pixels are done together with some already done, not alone.
        const int64_t pixel = run.pixels >= kLanes ? least(at, run.pixels - kLanes) : 0;
        const int64_t count = least(kLanes, run.pixels);
        const Keep shared = run.one_plane ? keepOf<type>(run, 0, pixel, count) : Keep{};
        for (int64_t c = last_tile; c >= 0; c -= kLanes)
            loadTile<type>(run, c, pixel, count, least(kLanes, padded - c), shared);
    }
}

template <MaskType type>
void loadPlanar(const LoadRun& run) {
    for (int64_t c = 0; c < run.channels; ++c) {
        const float* from = run.source + c * run.channel_stride;
        float* to = run.scratch + c * run.block_stride;
        int64_t p = 0;
        for (; p + kLanes <= run.pixels; p += kLanes)
            store(to + p, masked<type>(load(from + p), keepOf<type>(run, c, p, kLanes)));
        if (p < run.pixels) {
            const int64_t count = run.pixels - p;
            storePart(to + p, masked<type>(loadPart(from + p, count), keepOf<type>(run, c, p, count)), count);
        }
    }
}

template <MaskType type>
PCONV_INLINE float maskOf(const LoadRun& run, int64_t channel, int64_t pixel) {
    if constexpr (type == MaskType::none) return 1;
    const void* plane = run.planes[run.one_plane ? 0 : channel];
    float value = 0;
    if constexpr (type == MaskType::binary)
        value = static_cast<const uint8_t*>(plane)[pixel] != 0 ? 1.0F : 0.0F;
    else
        value = static_cast<const float*>(plane)[pixel];
    return run.hole_is_one ? 1 - value : value;
}

// Channels-last to channels-last or blocked, one mask plane.
template <MaskType type>
void loadInterleaved(const LoadRun& run) {
    const int64_t padded = (run.channels + run.block - 1) / run.block * run.block;
    for (int64_t p = 0; p < run.pixels; ++p) {
        const float m = maskOf<type>(run, 0, p);
        const float* from = run.source + p * run.pixel_stride;
        for (int64_t first = 0; first < padded; first += run.block) {
            float* to = run.scratch + first / run.block * run.block_stride + p * run.block;
            const int64_t count = least(run.block, run.channels - first);
            if (m == 0) {
                __builtin_memset(to, 0, static_cast<size_t>(run.block) * sizeof(float));
                continue;
            }
            for (int64_t c = 0; c < count; ++c)
                to[c] = type == MaskType::fractional ? from[first + c] * m : from[first + c];
            for (int64_t c = count; c < run.block; ++c) to[c] = 0;
        }
    }
}

template <MaskType type>
void loadAnyOrder(const LoadRun& run) {
    const int64_t padded = (run.channels + run.block - 1) / run.block * run.block;
    for (int64_t p = 0; p < run.pixels; ++p)
        for (int64_t c = 0; c < padded; ++c) {
            float value = 0;
            if (c < run.channels) {
                const float m = maskOf<type>(run, c, p);
                if (m != 0) value = run.source[c * run.channel_stride + p * run.pixel_stride] * m;
            }
            run.scratch[c / run.block * run.block_stride + p * run.block + c % run.block] = value;
        }
}

template <MaskType type>
void loadMasked(const LoadRun& run) {
    if (run.pixel_stride == 1 && run.block == 1) return loadPlanar<type>(run);
    if (run.pixel_stride == 1) return loadTransposed<type>(run);
    if (run.channel_stride == 1 && run.block > 1 && (run.one_plane || type == MaskType::none))
        return loadInterleaved<type>(run);
    loadAnyOrder<type>(run);
}

void loadRun(const LoadRun& run) {
    if (run.mask == MaskType::none) return loadMasked<MaskType::none>(run);
    if (run.mask == MaskType::binary) return loadMasked<MaskType::binary>(run);
    loadMasked<MaskType::fractional>(run);
}

PCONV_INLINE Vec activate(Vec y, Activation activation, float negative_slope) {
    if (activation == Activation::none) return y;
    const Bits negative = y < 0.0F;
    const Vec scaled = activation == Activation::relu ? Vec{} : y * negative_slope;
    return reinterpret_cast<Vec>((reinterpret_cast<Bits>(y) & ~negative) |
                                 (reinterpret_cast<Bits>(scaled) & negative));
}

// Ratio and updated mask of one vector of pixels, or of one pixel for all channels.
struct Scale {
    Vec ratio;
    Vec updated;
    Bits valid;
};

PCONV_INLINE Scale scaleOf(const StoreRun& run, int64_t channel, int64_t pixel, int64_t count) {
    const ptrdiff_t at = channel / run.group_channels * run.group_stride + pixel;
    Scale scale{};
    scale.ratio = count == kLanes ? load(run.ratio + at) : loadPart(run.ratio + at, count);
    if (run.updated_mask == nullptr) {
        scale.updated = Vec{} + 1.0F;
        scale.valid = scale.ratio != 0.0F;
    } else {
        scale.updated = loadPart(run.updated_mask + at, count);
        scale.valid = scale.updated != 0.0F;
    }
    return scale;
}

PCONV_INLINE Vec finished(Vec sum, const StoreRun& run, const Scale& scale, Vec bias) {
    Vec y = sum * scale.ratio;
    if (run.bias != nullptr) {
        y = y + bias;
        if (run.updated_mask != nullptr) y = y * scale.updated;
    }
    return activate(select(y, scale.valid), run.activation, run.negative_slope);
}

PCONV_INLINE Vec biasOf(const StoreRun& run, int64_t channel) {
    return Vec{} + (run.bias == nullptr ? 0.0F : run.bias[channel]);
}

PCONV_INLINE const float* sumsOf(const StoreRun& run, int64_t channel, int64_t pixel) {
    return run.scratch + channel / run.block * run.block_stride + pixel * run.block + channel % run.block;
}

PCONV_INLINE void storeTile(const StoreRun& run, int64_t channel, int64_t width, int64_t pixel, int64_t count,
                            const Scale& shared) {
    Vec rows[kLanes];
    const float* from = sumsOf(run, channel, pixel);
    if (count == kLanes) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) rows[i] = load(from + i * run.block);
    } else {
        for (int i = 0; i < kLanes; ++i) rows[i] = i < count ? load(from + i * run.block) : Vec{};
    }
    transpose(rows);
    float* to = run.output + channel * run.channel_stride + pixel;
    const bool same_scale = run.group_channels >= run.channels;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
        if (i >= width) break;
        const Scale scale = same_scale ? shared : scaleOf(run, channel + i, pixel, count);
        const Vec y = finished(rows[i], run, scale, biasOf(run, channel + i));
        if (count == kLanes)
            store(to + i * run.channel_stride, y);
        else
            storePart(to + i * run.channel_stride, y, count);
    }
}

void storeTransposed(const StoreRun& run) {
    for (int64_t at = 0; at < run.pixels; at += kLanes) {
        const int64_t pixel = run.pixels >= kLanes ? least(at, run.pixels - kLanes) : 0;
        const int64_t count = least(kLanes, run.pixels);
        const Scale shared = scaleOf(run, 0, pixel, count);
        for (int64_t c = 0; c < run.channels;) {
            const int64_t in_block = run.block - c % run.block;
            const int64_t width = least(least(kLanes, run.channels - c), in_block);
            storeTile(run, c, width, pixel, count, shared);
            c += width;
        }
    }
}

void storePlanar(const StoreRun& run) {
    for (int64_t c = 0; c < run.channels; ++c) {
        const float* from = sumsOf(run, c, 0);
        float* to = run.output + c * run.channel_stride;
        const Vec bias = biasOf(run, c);
        int64_t p = 0;
        for (; p + kLanes <= run.pixels; p += kLanes)
            store(to + p, finished(load(from + p), run, scaleOf(run, c, p, kLanes), bias));
        if (p < run.pixels) {
            const int64_t count = run.pixels - p;
            storePart(to + p, finished(loadPart(from + p, count), run, scaleOf(run, c, p, count), bias),
                      count);
        }
    }
}

Scale scaleOfPixel(const StoreRun& run, int64_t channel, int64_t pixel) {
    const ptrdiff_t at = channel / run.group_channels * run.group_stride + pixel;
    const float updated =
        run.updated_mask == nullptr ? (run.ratio[at] != 0 ? 1.0F : 0.0F) : run.updated_mask[at];
    Scale scale{};
    scale.ratio = scale.ratio + run.ratio[at];
    scale.updated = scale.updated + updated;
    scale.valid = scale.updated != 0.0F;
    return scale;
}

void storeInterleaved(const StoreRun& run) {
    const bool same_scale = run.group_channels >= run.channels;
    for (int64_t p = 0; p < run.pixels; ++p) {
        Scale scale = scaleOfPixel(run, 0, p);
        float* to = run.output + p * run.pixel_stride;
        for (int64_t c = 0; c < run.channels;) {
            const int64_t in_block = run.block - c % run.block;
            int64_t width = least(least(kLanes, run.channels - c), in_block);
            if (!same_scale) {
                scale = scaleOfPixel(run, c, p);
                width = least(width, run.group_channels - c % run.group_channels);
            }
            const float* from = sumsOf(run, c, p);
            if (width == kLanes) {
                const Vec bias = run.bias == nullptr ? Vec{} : load(run.bias + c);
                store(to + c, finished(load(from), run, scale, bias));
            } else {
                const Vec bias = run.bias == nullptr ? Vec{} : loadPart(run.bias + c, width);
                storePart(to + c, finished(loadPart(from, width), run, scale, bias), width);
            }
            c += width;
        }
    }
}

void storeAnyOrder(const StoreRun& run) {
    for (int64_t p = 0; p < run.pixels; ++p)
        for (int64_t c = 0; c < run.channels; ++c) {
            const Vec sum = Vec{} + *sumsOf(run, c, p);
            const Vec y = finished(sum, run, scaleOfPixel(run, c, p), biasOf(run, c));
            run.output[c * run.channel_stride + p * run.pixel_stride] = y[0];
        }
}

void storeRun(const StoreRun& run) {
    if (run.pixel_stride == 1 && run.block == 1) return storePlanar(run);
    if (run.pixel_stride == 1) return storeTransposed(run);
    if (run.channel_stride == 1 && run.block > 1) return storeInterleaved(run);
    storeAnyOrder(run);
}

void countRow(uint8_t* sums, const uint8_t* row, int64_t size) {
    for (int64_t i = 0; i < size; ++i) sums[i] = static_cast<uint8_t>(sums[i] + (row[i] != 0 ? 1 : 0));
}

void addCounts(float* sums, const uint8_t* row, float base, float scale, int64_t size) {
    for (int64_t i = 0; i < size; ++i) sums[i] += base + scale * static_cast<float>(row[i]);
}

void addFractions(double* sums, const float* row, double base, double scale, int64_t size) {
    for (int64_t i = 0; i < size; ++i) sums[i] += base + scale * static_cast<double>(row[i]);
}

template <typename T>
void addRow(T* sums, const T* row, int64_t size) {
    for (int64_t i = 0; i < size; ++i) sums[i] += row[i];
}

template <typename T>
void finishRow(const MaskResultRow& row, const T* sums, int64_t size) {
    for (int64_t i = 0; i < size; ++i) {
        const float s = static_cast<float>(sums[i]);
        row.window_sum[i] = s;
        const bool any = s > 0;
        const bool window_ratio = row.normalization == Normalization::window_ratio;
        const float u = !any ? 0.0F : window_ratio && s < 1 ? s : 1.0F;
        row.ratio[i] = !any ? 0.0F : window_ratio ? row.window / (s + row.eps) * u : 1 / s;
        if (row.updated_binary != nullptr)
            row.updated_binary[i] = any ? 1 : 0;
        else
            row.updated_fractional[i] = u;
    }
}

}  // namespace

const Passes& PCONV_PASSES() {
    static const Passes all{loadRun,       storeRun,       countRow,         addCounts,        addFractions,
                            addRow<float>, addRow<double>, finishRow<float>, finishRow<double>};
    return all;
}

}  // namespace pconv::cpu
