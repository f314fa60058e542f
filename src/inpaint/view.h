// The caller's picture and mask, checked, and the numbers that its samples stand for.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/half.h"
#include "pconv/inpaint.h"

namespace pconv::inpaint {

inline constexpr int kMaxChannels = 4;
inline constexpr float kByte = 1.0F / 255.0F;

struct View {
    unsigned char* pixels;
    int64_t height, width;
    int64_t pixel_stride;  // samples
    int64_t row_stride;    // bytes
    int channels;
    PconvSampleType type;
    bool linear;
    float value_min, value_max;  // both 0 where none is stated
    const uint8_t* mask;
    int64_t mask_row_stride;
    PconvMaskLevels levels;
    uint8_t hole_of[256];  // how much of a hole a mask byte is, 0 to 255

    const unsigned char* row(int64_t y) const { return pixels + y * row_stride; }
    unsigned char* row(int64_t y) { return pixels + y * row_stride; }
    const uint8_t* maskRow(int64_t y) const { return mask + y * mask_row_stride; }
    int hole(const uint8_t* mask_row, int64_t x) const { return hole_of[mask_row[x]]; }
    // From here on a pixel teaches nothing.
    int unknownFrom() const { return levels == PCONV_MASK_LEVELS_CONFIDENCE ? 255 : 1; }
};

size_t sampleSize(PconvSampleType type);

// Throws where something is wrong with what the caller gave.
View parse(const PconvImage* image, const uint8_t* mask, const PconvInpaintOptions& options);

// A picture that `of`, reduced, is written to.
View parsePreview(const PconvImage* preview, const View& of);

struct Half {
    uint16_t bits;
};

template <typename T>
inline constexpr bool kIsWhole = std::is_integral_v<T>;

template <typename T>
float toNumber(T sample) {
    if constexpr (std::is_same_v<T, Half>)
        return floatFromF16(sample.bits);
    else
        return static_cast<float>(sample);
}

// Between samples and the values that colours are mixed as: 0 to 1 over the value range.
class Codec {
  public:
    Codec(float low, float high, bool linear)
        : low_(low), high_(high), scale_(high - low), inverse_(1.0F / (high - low)), linear_(linear) {}

    template <typename T>
    float load(T sample) const {
        const float value = (toNumber(sample) - low_) * inverse_;
        return linear_ ? encode(value) : value;
    }

    // The number of a sample for a value; whole ones are not yet rounded.
    float number(float value) const { return low_ + scale_ * (linear_ ? decode(value) : value); }

    template <typename T>
    T store(float number) const {
        if constexpr (kIsWhole<T>) {
            const float least = low_ > 0.0F ? low_ : 0.0F;
            constexpr auto kMost = static_cast<float>(std::numeric_limits<T>::max());
            const float most = high_ < kMost ? high_ : kMost;
            // Never negative, so that this rounds, and unlike lround as a vector instruction.
            // NOLINTNEXTLINE(bugprone-incorrect-roundings)
            return static_cast<T>((number > least ? number < most ? number : most : least) + 0.5F);
        } else if constexpr (std::is_same_v<T, Half>) {
            return {f16FromFloat(number)};
        } else {
            return number;
        }
    }

    float middle() const { return low_ + 0.5F * scale_; }

    // Whether a sample can be learned from: squares of squares of differences must stay finite.
    template <typename T>
    bool isUsable(T sample) const {
        return std::abs((toNumber(sample) - low_) * inverse_) <= 1e6F;  // false for NaN
    }

  private:
    // The curve of IEC 61966-2-1, continued as it is above 1, and mirrored below 0.
    static float encode(float light) {
        const float size = std::abs(light);
        const float code = size <= 0.0031308F ? 12.92F * size : 1.055F * std::pow(size, 1.0F / 2.4F) - 0.055F;
        return std::copysign(code, light);
    }
    static float decode(float code) {
        const float size = std::abs(code);
        const float light = size <= 0.04045F ? size / 12.92F : std::pow((size + 0.055F) / 1.055F, 2.4F);
        return std::copysign(light, code);
    }

    float low_, high_, scale_, inverse_;
    bool linear_;
};

// By the range that the caller states, or the type has, or the valid samples span.
Codec codecOf(const View& view);

}  // namespace pconv::inpaint
