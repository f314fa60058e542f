// The pass in: an input, masked, into the scratch layout that the convolution reads; a part of
// cpu_pass_kernels.h.
#pragma once

#include "cpu/passes/half_tile.h"
#include "cpu/passes/passes.h"
#include "cpu/passes/vector.h"

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

template <MaskType type, typename Run>
PCONV_INLINE Keep keepOf(const Run& run, int64_t channel, int64_t pixel, int64_t count = kLanes) {
    Keep keep{};
    const void* plane = type == MaskType::none ? nullptr : run.planes[run.one_plane ? 0 : channel];
    if constexpr (type == MaskType::binary) {
        const auto* from = static_cast<const uint8_t*>(plane) + pixel;
        const Bits set = count == kLanes ? loadNonzero(from) : loadNonzeroPart(from, count);
        keep.bits = set ^ (run.hole_is_one ? -1 : 0);
    } else if constexpr (type == MaskType::fractional) {
        const auto* from = static_cast<const float*>(plane) + pixel;
        const Vec value = count == kLanes ? load(from) : loadPart(from, count);
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

template <MaskType type, bool one_plane>
PCONV_INLINE void loadFullTile(const LoadRun& run, int64_t channel, int64_t pixel, const float* from,
                               float* to) {
    Vec rows[kLanes];
    Keep keep{};
    if constexpr (one_plane) keep = keepOf<type>(run, 0, pixel);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
        if constexpr (!one_plane) keep = keepOf<type>(run, channel + i, pixel);
        rows[i] = masked<type>(load(from + i * run.channel_stride), keep);
    }
    transpose(rows);
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) store(to + i * run.block, rows[i]);
}

template <MaskType type, bool one_plane>
PCONV_INLINE void loadHalfTile(const LoadRun& run, int64_t channel, int64_t pixel, const float* from,
                               float* to) {
    Vec rows[kHalf];
    Keep keep{};
    if constexpr (one_plane) keep = keepOf<type>(run, 0, pixel);
#pragma GCC unroll 8
    for (int i = 0; i < kHalf; ++i) {
        if constexpr (!one_plane) keep = keepOf<type>(run, channel + i, pixel);
        rows[i] = masked<type>(load(from + i * run.channel_stride), keep);
    }
    transposeHalf(rows);
    storePixelPairs(rows, to, run.block);
}

// Fewer channels or pixels than lanes. `width` of the channels belong into the tile's place in the scratch: a
// narrow tile's stores spill into the next pixels, which are written after it; beyond the last they must not.
template <MaskType type>
void loadPartTile(const LoadRun& run, int64_t channel, int64_t pixel, int64_t count, int64_t width,
                  float* to) {
    Vec rows[kLanes];
    for (int i = 0; i < kLanes; ++i) {
        const int64_t c = channel + i;
        rows[i] = Vec{};
        if (c >= run.channels) continue;
        const float* from = run.source + c * run.channel_stride + pixel;
        rows[i] = masked<type>(count == kLanes ? load(from) : loadPart(from, count),
                               keepOf<type>(run, c, pixel, count));
    }
    transpose(rows);
    for (int64_t i = 0; i < count; ++i) {
        const bool room = (count - i) * run.block - channel % run.block >= kLanes;
        if (room)
            store(to + i * run.block, rows[i]);
        else
            storePart(to + i * run.block, rows[i], width);
    }
}

template <MaskType type, bool one_plane>
void loadTransposed(const LoadRun& run) {
    const int64_t padded = (run.channels + run.block - 1) / run.block * run.block;
    const int64_t count = least(kLanes, run.pixels);
    // A tile keeps to one block: the next block's pixels lie elsewhere.
    const int64_t tile = least(kLanes, run.block);
    // The narrow tile first, for its stores spill.
    for (int64_t c = (padded - 1) / tile * tile; c >= 0; c -= tile) {
        const int64_t width = least(tile, padded - c);
        const float* from = run.source + c * run.channel_stride;
        float* to = run.scratch + c / run.block * run.block_stride + c % run.block;
        for (int64_t at = 0; at < run.pixels; at += kLanes) {
            // The last pixels are done together with some already done, not alone.
            const int64_t pixel = least(at, run.pixels - count);
            if (count == kLanes && tile == kLanes && c + kLanes <= run.channels)
                loadFullTile<type, one_plane>(run, c, pixel, from + pixel, to + pixel * run.block);
            else if (count == kLanes && width == kHalf && c + kHalf <= run.channels)
                loadHalfTile<type, one_plane>(run, c, pixel, from + pixel, to + pixel * run.block);
            else
                loadPartTile<type>(run, c, pixel, count, width, to + pixel * run.block);
        }
    }
}

template <MaskType type, typename Run>
PCONV_INLINE float maskOf(const Run& run, int64_t channel, int64_t pixel) {
    if constexpr (type == MaskType::none) return 1;
    const void* plane = run.planes[run.one_plane ? 0 : channel];
    float value = 0;
    if constexpr (type == MaskType::binary)
        value = static_cast<const uint8_t*>(plane)[pixel] != 0 ? 1.0F : 0.0F;
    else
        value = static_cast<const float*>(plane)[pixel];
    return run.hole_is_one ? 1 - value : value;
}

// Two to four channels, channels-last: an image.
template <MaskType type, int channels>
void loadNarrow(const LoadRun& run) {
    int64_t p = 0;
    for (; p + kLanes <= run.pixels; p += kLanes) {
        Vec rows[channels];
        for (int c = 0; c < channels; ++c)
            rows[c] = masked<type>(load(run.source + c * run.channel_stride + p), keepOf<type>(run, c, p));
        storeInterleavedVectors<channels>(run.scratch + p * channels, rows);
    }
    for (; p < run.pixels; ++p)
        for (int c = 0; c < channels; ++c) {
            const float m = maskOf<type>(run, c, p);
            run.scratch[p * channels + c] = m == 0 ? 0.0F : run.source[c * run.channel_stride + p] * m;
        }
}

// A row is too short for the processor to see what follows: rows of the planes behind it are asked for.
constexpr int64_t kPlanesAhead = 4;

template <MaskType type>
void loadPlanar(const LoadRun& run) {
    for (int64_t c = 0; c < run.channels; ++c) {
        const float* from = run.source + c * run.channel_stride;
        float* to = run.scratch + c * run.block_stride;
        int64_t p = 0;
        for (; p + kLanes <= run.pixels; p += kLanes) {
            __builtin_prefetch(from + kPlanesAhead * run.channel_stride + p);
            store(to + p, masked<type>(load(from + p), keepOf<type>(run, c, p, kLanes)));
        }
        if (p == run.pixels) continue;
        // As there, the last pixels are done together with some already done.
        if (p > 0) {
            p = run.pixels - kLanes;
            store(to + p, masked<type>(load(from + p), keepOf<type>(run, c, p, kLanes)));
        } else {
            const int64_t count = run.pixels;
            storePart(to + p, masked<type>(loadPart(from + p, count), keepOf<type>(run, c, p, count)), count);
        }
    }
}

// One pixel's channels of the block that begins with channel `first`.
template <MaskType type>
PCONV_INLINE void loadPixel(const LoadRun& run, int64_t first, float* block, int64_t pixel,
                            const Keep& keep) {
    const float* from = run.source + pixel * run.pixel_stride + first;
    float* to = block + pixel * run.block;
    const int64_t count = least(run.block, run.channels - first);
    int64_t c = 0;
    for (; c + kLanes <= count; c += kLanes) store(to + c, masked<type>(load(from + c), keep));
    if (c + kHalf <= count) {
        storeHalf(to + c, masked<type>(loadHalf(from + c), keep));
        c += kHalf;
    }
    if (c < count) {
        storePart(to + c, masked<type>(loadPart(from + c, count - c), keep), count - c);
        c = count;
    }
    for (; c < run.block; ++c) to[c] = 0;
}

// Of a pixel's channels.
template <MaskType type>
PCONV_INLINE Keep keepOfPixel(const LoadRun& run, int64_t pixel) {
    Keep keep{};
    if constexpr (type == MaskType::binary) {
        const bool set = static_cast<const uint8_t*>(run.planes[0])[pixel] != 0;
        keep.bits = Bits{} + (set != run.hole_is_one ? -1 : 0);
    } else if constexpr (type == MaskType::fractional) {
        const float value = static_cast<const float*>(run.planes[0])[pixel];
        keep.factor = Vec{} + (run.hole_is_one ? 1.0F - value : value);
        keep.bits = keep.factor != 0.0F;
    }
    return keep;
}

// Pixels of half a vector or a few whole ones, one after another.
template <MaskType type, int halves>
void loadWholePixels(const LoadRun& run) {
    constexpr bool kOneHalf = halves == 1;
    for (int64_t p = 0; p < run.pixels; ++p) {
        const Keep keep = keepOfPixel<type>(run, p);
        const float* from = run.source + p * run.pixel_stride;
        float* to = run.scratch + p * halves * kHalf;
#pragma GCC unroll 4
        for (int c = 0; c < halves * kHalf; c += kLanes)
            storeSome<kOneHalf>(to + c, masked<type>(loadSome<kOneHalf>(from + c), keep));
    }
}

// Channels-last to channels-last or blocked, one mask plane.
template <MaskType type>
void loadInterleaved(const LoadRun& shared) {
    const LoadRun run = shared;  // which no store of a pixel can change
    if (run.block == run.channels) {
        if (run.channels == kHalf) return loadWholePixels<type, 1>(run);
        if (run.channels == 2 * kHalf) return loadWholePixels<type, 2>(run);
        if (run.channels == 4 * kHalf) return loadWholePixels<type, 4>(run);
        if (run.channels == 8 * kHalf) return loadWholePixels<type, 8>(run);
    }
    for (int64_t first = 0; first < run.pixels; first += kLanes) {
        const int64_t count = least(kLanes, run.pixels - first);
        const Keep keep = keepOf<type>(run, 0, first, count);
        Keep of_pixel[kLanes]{};
        for (int64_t i = 0; i < count; ++i) {
            if constexpr (type != MaskType::none) of_pixel[i].bits = of_pixel[i].bits + keep.bits[i];
            if constexpr (type == MaskType::fractional)
                of_pixel[i].factor = of_pixel[i].factor + keep.factor[i];
        }
        // Block by block: those of one pixel lie at distances that meet in few of the first cache's sets.
        float* block = run.scratch;
        for (int64_t c = 0; c < run.channels; c += run.block, block += run.block_stride)
            for (int64_t i = 0; i < count; ++i) loadPixel<type>(run, c, block, first + i, of_pixel[i]);
    }
}

// Channels-last as well, and a plane for every channel: the masks of a square of channels and pixels are
// transposed.
template <MaskType type>
void loadInterleavedPlanes(const LoadRun& shared) {
    const LoadRun run = shared;
    float* block = run.scratch;
    for (int64_t first = 0; first < run.channels; first += run.block, block += run.block_stride) {
        const int64_t channels = least(run.block, run.channels - first);
        for (int64_t pixel = 0; pixel < run.pixels; pixel += kLanes) {
            const int64_t count = least(kLanes, run.pixels - pixel);
            for (int64_t c = 0; c < channels; c += kLanes) {
                const int64_t width = least(kLanes, channels - c);
                Vec masks[kLanes];
                for (int i = 0; i < kLanes; ++i) {
                    masks[i] = Vec{};
                    if (i >= width) continue;
                    const Keep keep = keepOf<type>(run, first + c + i, pixel, count);
                    masks[i] = type == MaskType::fractional ? keep.factor : reinterpret_cast<Vec>(keep.bits);
                }
                transpose(masks);
                for (int64_t i = 0; i < count; ++i) {
                    Keep keep{};
                    keep.factor = masks[i];
                    keep.bits = type == MaskType::fractional ? keep.factor != 0.0F
                                                             : reinterpret_cast<Bits>(keep.factor);
                    const float* from = run.source + (pixel + i) * run.pixel_stride + first + c;
                    float* to = block + (pixel + i) * run.block + c;
                    if (width == kLanes)
                        store(to, masked<type>(load(from), keep));
                    else
                        storePart(to, masked<type>(loadPart(from, width), keep), width);
                }
            }
            for (int64_t i = pixel; channels < run.block && i < pixel + count; ++i)
                for (int64_t c = channels; c < run.block; ++c) block[i * run.block + c] = 0;
        }
    }
}

// Channels-last to planes: a square of pixels and channels, or a part of one.
template <MaskType type, bool whole>
PCONV_INLINE void loadSquare(const LoadRun& run, int64_t pixel, int64_t channel, int64_t count,
                             int64_t width) {
    Vec rows[kLanes];
    const float* from = run.source + pixel * run.pixel_stride + channel;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i, from += run.pixel_stride)
        rows[i] = whole ? load(from) : i < count ? loadPart(from, width) : Vec{};
    transpose(rows);
    Keep keep{};
    if (run.one_plane) keep = keepOf<type>(run, 0, pixel, count);
    float* to = run.scratch + channel * run.block_stride + pixel;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i, to += run.block_stride) {
        if (!whole && i >= width) break;
        if (!run.one_plane) keep = keepOf<type>(run, channel + i, pixel, count);
        if (whole)
            store(to, masked<type>(rows[i], keep));
        else
            storePart(to, masked<type>(rows[i], keep), count);
    }
}

template <MaskType type>
void loadToPlanes(const LoadRun& run) {
    for (int64_t p = 0; p < run.pixels; p += kLanes)
        for (int64_t c = 0; c < run.channels; c += kLanes) {
            const int64_t count = least(kLanes, run.pixels - p);
            const int64_t width = least(kLanes, run.channels - c);
            if (count == kLanes && width == kLanes)
                loadSquare<type, true>(run, p, c, kLanes, kLanes);
            else
                loadSquare<type, false>(run, p, c, count, width);
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
    if (run.pixel_stride == 1 && run.block == run.channels) {
        if (run.channels == 2) return loadNarrow<type, 2>(run);
        if (run.channels == 3) return loadNarrow<type, 3>(run);
        if (run.channels == 4) return loadNarrow<type, 4>(run);
    }
    if (run.pixel_stride == 1 && (run.one_plane || type == MaskType::none))
        return loadTransposed<type, true>(run);
    if (run.pixel_stride == 1) return loadTransposed<type, false>(run);
    if (run.channel_stride == 1 && run.block > 1 && (run.one_plane || type == MaskType::none))
        return loadInterleaved<type>(run);
    if (run.channel_stride == 1 && run.block > 1) return loadInterleavedPlanes<type>(run);
    if (run.channel_stride == 1) return loadToPlanes<type>(run);
    loadAnyOrder<type>(run);
}

void loadRun(const LoadRun& run) {
    if (run.mask == MaskType::none) return loadMasked<MaskType::none>(run);
    if (run.mask == MaskType::binary) return loadMasked<MaskType::binary>(run);
    loadMasked<MaskType::fractional>(run);
}

}  // namespace

}  // namespace pconv::cpu
