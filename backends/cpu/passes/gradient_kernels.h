// The passes of the backward pass alone; a part of cpu_pass_kernels.h.
#pragma once

namespace pconv::cpu {

namespace {

template <MaskType type>
PCONV_INLINE Keep keepOfGradient(const UnloadRun& run, int64_t channel, int64_t pixel, int64_t count) {
    Keep keep = keepOf<type>(run, channel, pixel, count);
    if (run.selects) keep.factor = Vec{} + 1.0F;
    return keep;
}

template <MaskType type, bool one_plane, bool accumulate>
PCONV_INLINE void unloadTile(const UnloadRun& run, int64_t channel, int64_t width, int64_t pixel,
                             int64_t count) {
    Vec rows[kLanes];
    const float* from =
        run.scratch + channel / run.block * run.block_stride + pixel * run.block + channel % run.block;
    for (int i = 0; i < kLanes; ++i) rows[i] = i < count ? load(from + i * run.block) : Vec{};
    transpose(rows);
    Keep keep{};
    if constexpr (one_plane) keep = keepOfGradient<type>(run, 0, pixel, count);
    float* to = run.gradient + channel * run.channel_stride + pixel;
    for (int64_t i = 0; i < width; ++i, to += run.channel_stride) {
        if constexpr (!one_plane) keep = keepOfGradient<type>(run, channel + i, pixel, count);
        Vec value = masked<type>(rows[i], keep);
        if (count == kLanes) {
            if constexpr (accumulate) value = value + load(to);
            store(to, value);
        } else {
            if constexpr (accumulate) value = value + loadPart(to, count);
            storePart(to, value, count);
        }
    }
}

template <MaskType type, bool one_plane, bool accumulate>
void unloadTransposed(const UnloadRun& run) {
    for (int64_t c = 0; c < run.channels;) {
        const int64_t width = least(least(kLanes, run.channels - c), run.block - c % run.block);
        for (int64_t p = 0; p < run.pixels; p += kLanes)
            unloadTile<type, one_plane, accumulate>(run, c, width, p, least(kLanes, run.pixels - p));
        c += width;
    }
}

template <MaskType type, bool accumulate>
void unloadPlanar(const UnloadRun& run) {
    for (int64_t c = 0; c < run.channels; ++c) {
        const float* from = run.scratch + c * run.block_stride;
        float* to = run.gradient + c * run.channel_stride;
        for (int64_t p = 0; p < run.pixels; p += kLanes) {
            const int64_t count = least(kLanes, run.pixels - p);
            const Keep keep = keepOfGradient<type>(run, c, p, count);
            Vec value = masked<type>(loadPart(from + p, count), keep);
            if constexpr (accumulate) value = value + loadPart(to + p, count);
            storePart(to + p, value, count);
        }
    }
}

template <bool accumulate>
PCONV_INLINE void unloadVector(float* to, Vec value, int64_t width) {
    if (width == kLanes) {
        if constexpr (accumulate) value = value + load(to);
        store(to, value);
    } else {
        if constexpr (accumulate) value = value + loadPart(to, width);
        storePart(to, value, width);
    }
}

// Into a channels-last tensor, one mask plane.
template <MaskType type, bool accumulate>
void unloadInterleaved(const UnloadRun& shared) {
    const UnloadRun run = shared;  // which no store of a pixel can change
    for (int64_t pixel = 0; pixel < run.pixels; pixel += kLanes) {
        const int64_t count = least(kLanes, run.pixels - pixel);
        const Keep keep = keepOfGradient<type>(run, 0, pixel, count);
        for (int64_t i = 0; i < count; ++i) {
            Keep of_pixel{};
            if constexpr (type != MaskType::none) of_pixel.bits = of_pixel.bits + keep.bits[i];
            if constexpr (type == MaskType::fractional) of_pixel.factor = of_pixel.factor + keep.factor[i];
            const float* from = run.scratch + (pixel + i) * run.block;
            float* to = run.gradient + (pixel + i) * run.pixel_stride;
            for (int64_t first = 0; first < run.channels; first += run.block, from += run.block_stride) {
                const int64_t channels = least(run.block, run.channels - first);
                for (int64_t c = 0; c < channels; c += kLanes) {
                    const int64_t width = least(kLanes, channels - c);
                    const Vec value = width == kLanes ? load(from + c) : loadPart(from + c, width);
                    unloadVector<accumulate>(to + first + c, masked<type>(value, of_pixel), width);
                }
            }
        }
    }
}

template <MaskType type, bool accumulate>
void unloadAnyOrder(const UnloadRun& run) {
    const bool same_mask = run.one_plane || type == MaskType::none;
    for (int64_t p = 0; p < run.pixels; ++p) {
        float m = same_mask ? maskOf<type>(run, 0, p) : 0;
        for (int64_t c = 0; c < run.channels; ++c) {
            if (!same_mask) m = maskOf<type>(run, c, p);
            const float sum = run.scratch[c / run.block * run.block_stride + p * run.block + c % run.block];
            float* to = run.gradient + c * run.channel_stride + p * run.pixel_stride;
            const float value = m == 0 ? 0.0F : run.selects ? sum : sum * m;
            *to = accumulate ? *to + value : value;
        }
    }
}

template <MaskType type, bool accumulate>
void unloadMasked(const UnloadRun& run) {
    if (run.channel_stride == 1 && run.block > 1 && (run.one_plane || type == MaskType::none))
        return unloadInterleaved<type, accumulate>(run);
    if (run.pixel_stride != 1) return unloadAnyOrder<type, accumulate>(run);
    if (run.block == 1) return unloadPlanar<type, accumulate>(run);
    if (run.one_plane || type == MaskType::none) return unloadTransposed<type, true, accumulate>(run);
    unloadTransposed<type, false, accumulate>(run);
}

template <bool accumulate>
void unloadInto(const UnloadRun& run) {
    if (run.mask == MaskType::none) return unloadMasked<MaskType::none, accumulate>(run);
    if (run.mask == MaskType::binary) return unloadMasked<MaskType::binary, accumulate>(run);
    unloadMasked<MaskType::fractional, accumulate>(run);
}

void unloadRun(const UnloadRun& run) {
    if (run.accumulate) return unloadInto<true>(run);
    unloadInto<false>(run);
}

// What an output's gradient is multiplied by in that of the bias.
PCONV_INLINE Vec maskedBiasTerm(const BiasRun& run, Vec dy, const float* mask, int64_t count) {
    if (mask == nullptr) return dy;
    const Vec m = count == kLanes ? load(mask) : loadPart(mask, count);
    return select(run.binary ? dy : dy * m, m != 0.0F);
}

// A few terms a lane in f32, all of those in f64.
void sumBiasRows(const BiasRun& run) {
    constexpr int64_t kTerms = 8 * kLanes;
    for (int64_t c = 0; c < run.channels; ++c) {
        const float* from = run.source + c * run.channel_stride;
        const float* mask =
            run.mask == nullptr ? nullptr : run.mask + c / run.group_channels * run.group_stride;
        double sum = 0;
        for (int64_t first = 0; first < run.pixels; first += kTerms) {
            const int64_t end = least(first + kTerms, run.pixels);
            Vec part{};
            for (int64_t p = first; p < end; p += kLanes) {
                const int64_t count = least(kLanes, end - p);
                const Vec dy = count == kLanes ? load(from + p) : loadPart(from + p, count);
                part = part + maskedBiasTerm(run, dy, mask == nullptr ? nullptr : mask + p, count);
            }
            for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(part[i]);
        }
        run.sums[c] += sum;
    }
}

// Channels-last, one mask for all channels.
void sumBiasInterleaved(const BiasRun& run) {
    constexpr int64_t kTerms = 16;
    for (int64_t first = 0; first < run.pixels; first += kTerms) {
        const int64_t end = least(first + kTerms, run.pixels);
        for (int64_t c = 0; c < run.channels; c += kLanes) {
            const int64_t width = least(kLanes, run.channels - c);
            Vec part{};
            for (int64_t p = first; p < end; ++p) {
                const float* from = run.source + p * run.pixel_stride + c;
                const Vec dy = width == kLanes ? load(from) : loadPart(from, width);
                const Vec m = Vec{} + (run.mask == nullptr ? 1.0F : run.mask[p]);
                part = part + select(run.binary || run.mask == nullptr ? dy : dy * m, m != 0.0F);
            }
            for (int64_t i = 0; i < width; ++i) run.sums[c + i] += static_cast<double>(part[i]);
        }
    }
}

void sumBiasAnyOrder(const BiasRun& run) {
    for (int64_t p = 0; p < run.pixels; ++p)
        for (int64_t first = 0; first < run.channels; first += run.group_channels) {
            const float m =
                run.mask == nullptr ? 1 : run.mask[first / run.group_channels * run.group_stride + p];
            if (m == 0) continue;
            const float factor = run.binary ? 1 : m;
            const float* from = run.source + p * run.pixel_stride;
            const int64_t end = least(first + run.group_channels, run.channels);
            for (int64_t c = first; c < end; ++c)
                run.sums[c] += static_cast<double>(from[c * run.channel_stride] * factor);
        }
}

void sumBias(const BiasRun& run) {
    if (run.pixel_stride == 1) return sumBiasRows(run);
    if (run.channel_stride == 1 && run.group_channels >= run.channels) return sumBiasInterleaved(run);
    sumBiasAnyOrder(run);
}

}  // namespace

}  // namespace pconv::cpu
