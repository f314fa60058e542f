// A picture at a whole fraction of its size, for previews.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "inpaint/view.h"

namespace pconv::inpaint {

// A pixel is the mean of a grid of 4 to 7 rows and columns of its part (fewer in smaller ones), as they are
// stored.
template <typename T>
class Reduction {
  public:
    Reduction(const View& view, const Codec& codec, int64_t step)
        : view_(view), codec_(codec), step_(step), stride_(std::max<int64_t>(step / 4, 1)) {}

    // A row of the reduced picture, as values, and of its mask.
    void row(int64_t y, int64_t width, float* out, uint8_t* mask) const {
        const int64_t top = y * step_;
        const int64_t bottom = std::min(top + step_, view_.height);
        for (int64_t x = 0; x < width; ++x, out += view_.channels) {
            const int64_t left = x * step_;
            const int64_t right = std::min(left + step_, view_.width);
            if (!kIsWhole<T> || !meanOfWhole(top, bottom, left, right, out, mask[x]))
                mask[x] = mean(top, bottom, left, right, out);
        }
    }

  private:
    const T* pixel(int64_t y, int64_t x) const {
        return reinterpret_cast<const T*>(view_.row(y)) + x * view_.pixel_stride;
    }

    // In whole numbers, where pixels are holes or not, which is most of most pictures; false where some are
    // in part.
    bool meanOfWhole(int64_t top, int64_t bottom, int64_t left, int64_t right, float* out,
                     uint8_t& mask) const {
        switch (view_.channels) {
            case 1:
                return meanOf<1>(top, bottom, left, right, out, mask);
            case 2:
                return meanOf<2>(top, bottom, left, right, out, mask);
            case 3:
                return meanOf<3>(top, bottom, left, right, out, mask);
            default:
                return meanOf<4>(top, bottom, left, right, out, mask);
        }
    }

    template <int channels>
    bool meanOf(int64_t top, int64_t bottom, int64_t left, int64_t right, float* out, uint8_t& mask) const {
        constexpr int kHole = 255;
        const bool blends = view_.levels == PCONV_MASK_LEVELS_BLEND;
        uint32_t sum[channels] = {};
        uint32_t count = 0;
        const int64_t stride = stride_ * view_.pixel_stride;
        for (int64_t y = top; y < bottom; y += stride_) {
            const T* in = pixel(y, left);
            const uint8_t* const holes = view_.maskRow(y);
            for (int64_t x = left; x < right; x += stride_, in += stride) {
                const int hole = view_.hole(holes, x);
                if (hole != 0 && (blends || hole != kHole)) return false;
                const uint32_t known = hole == 0 ? 1 : 0;
                if constexpr (kIsWhole<T>)
                    for (int c = 0; c < channels; ++c) sum[c] += known * in[c];
                count += known;
            }
        }
        for (int c = 0; c < channels; ++c)
            out[c] = count > 0 ? codec_.load(static_cast<float>(sum[c]) / static_cast<float>(count)) : 0.0F;
        mask = count > 0 ? 0 : kHole;
        return true;
    }

    uint8_t mean(int64_t top, int64_t bottom, int64_t left, int64_t right, float* out) const {
        float sum[kMaxChannels] = {};
        float weights = 0.0F, best = 0.0F, holes = 0.0F, count = 0.0F;
        for (int64_t y = top; y < bottom; y += stride_) {
            const uint8_t* const mask = view_.maskRow(y);
            for (int64_t x = left; x < right; x += stride_) {
                const T* const in = pixel(y, x);
                const int hole = view_.hole(mask, x);
                holes += static_cast<float>(hole);
                count += 1.0F;
                // Blends keep a share of what is selected; else holes count as far as they are known.
                const float known = 1.0F - static_cast<float>(hole) * kByte;
                const float weight = view_.levels == PCONV_MASK_LEVELS_BLEND ? 1.0F : known;
                bool usable = weight > 0.0F;
                if (!kIsWhole<T>)
                    for (int c = 0; c < view_.channels; ++c) usable = usable && codec_.isUsable(in[c]);
                if (!usable) continue;
                for (int c = 0; c < view_.channels; ++c) sum[c] += weight * toNumber(in[c]);
                weights += weight;
                best = std::max(best, weight);
            }
        }
        for (int c = 0; c < view_.channels; ++c)
            out[c] = weights > 0.0F ? codec_.load(sum[c] / weights) : 0.0F;
        if (weights <= 0.0F) return 255;
        if (view_.levels == PCONV_MASK_LEVELS_BLEND) return static_cast<uint8_t>(std::lround(holes / count));
        return static_cast<uint8_t>(std::lround(255.0F * (1.0F - best)));
    }

    const View& view_;
    const Codec& codec_;
    int64_t step_, stride_;
};

}  // namespace pconv::inpaint
