#include "inpaint/view.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/checked.h"

namespace pconv::inpaint {

namespace {

[[noreturn]] void outOfRange(const char* name, int64_t value, const std::string& expected) {
    invalid(std::string(name) + " is " + std::to_string(value) + "; expected " + expected);
}

void between(const char* name, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most)
        outOfRange(name, value, std::to_string(least) + " to " + std::to_string(most));
}

int64_t magnitude(int64_t stride) {
    return stride == INT64_MIN ? INT64_MAX : std::abs(stride);
}

void parseImage(const PconvImage& image, View& view) {
    between("image->width", image.width, 1, kMaxSize);
    between("image->height", image.height, 1, kMaxSize);
    between("image->channels", image.channels, 1, kMaxChannels);
    between("image->sample_type", enumNumber(image.sample_type), 0, PCONV_SAMPLE_TYPE_F16);
    between("image->transfer", enumNumber(image.transfer), 0, PCONV_TRANSFER_LINEAR);
    notNull(static_cast<unsigned char*>(image.pixels), "image->pixels");
    const auto size = static_cast<int64_t>(sampleSize(image.sample_type));
    view.pixel_stride = image.pixel_stride == 0 ? image.channels : image.pixel_stride;
    const int64_t pixel = magnitude(view.pixel_stride);
    if (pixel < image.channels || pixel > kMaxSize / 4)
        outOfRange(
            "image->pixel_stride", view.pixel_stride,
            std::to_string(image.channels) + " to " + std::to_string(kMaxSize / 4) + " or the same below 0");
    // A row of the last pixel's samples, not its gap, must fit.
    const int64_t row = ((image.width - 1) * pixel + image.channels) * size;
    view.row_stride = image.row_stride == 0 ? image.width * pixel * size : image.row_stride;
    const int64_t step = magnitude(view.row_stride);
    if (step < row || step % size != 0 || step > PTRDIFF_MAX / image.height)
        outOfRange("image->row_stride", view.row_stride,
                   "a multiple of " + std::to_string(size) + " of at least " + std::to_string(row) +
                       " bytes, or the same below 0, and a picture that fits in memory");
    if (reinterpret_cast<uintptr_t>(image.pixels) % static_cast<size_t>(size) != 0)
        invalid("image->pixels is not aligned to its samples of " + std::to_string(size) + " bytes");
    if (image.width > PTRDIFF_MAX / 64 / image.height)
        fail(PCONV_ERROR_OUT_OF_MEMORY, "the image has more pixels than memory can hold");
    const bool stated = image.value_min != 0.0F || image.value_max != 0.0F;
    // Written so that NaN is refused too.
    if (stated && !(image.value_max - image.value_min > 1e-30F && image.value_max - image.value_min < 1e37F))
        invalid("image->value_min and value_max are " + std::to_string(image.value_min) + " and " +
                std::to_string(image.value_max) + "; expected a range that rises, or 0 and 0 for none");
    view.pixels = static_cast<unsigned char*>(image.pixels);
    view.height = image.height;
    view.width = image.width;
    view.channels = image.channels;
    view.type = image.sample_type;
    view.linear = image.transfer == PCONV_TRANSFER_LINEAR;
    view.value_min = image.value_min;
    view.value_max = image.value_max;
}

// The numbers of the valid pixels on a grid of every `step`-th row and column.
template <typename T>
void sample(const View& view, int64_t step, std::vector<float>& numbers) {
    numbers.clear();
    for (int64_t y = step / 2; y < view.height; y += step) {
        const auto* const row = reinterpret_cast<const T*>(view.row(y));
        const uint8_t* const mask = view.maskRow(y);
        for (int64_t x = step / 2; x < view.width; x += step) {
            if (view.hole(mask, x) >= view.unknownFrom()) continue;
            for (int c = 0; c < view.channels; ++c) {
                const float number = toNumber(row[x * view.pixel_stride + c]);
                if (std::abs(number) <= 1e36F) numbers.push_back(number);
            }
        }
    }
}

template <typename T>
Codec measured(const View& view) {
    constexpr int64_t kSamples = 65536;  // as many as a percentile needs
    constexpr size_t kEnough = 256;
    const double share = static_cast<double>(view.width) * static_cast<double>(view.height) / kSamples;
    auto step = std::max<int64_t>(1, static_cast<int64_t>(std::sqrt(share)));
    std::vector<float> numbers;
    for (;; step /= 2) {
        sample<T>(view, step, numbers);
        if (numbers.size() >= kEnough || step == 1) break;
    }
    if (numbers.empty()) return {0.0F, 1.0F, view.linear};
    const size_t cut = numbers.size() / 100;
    std::sort(numbers.begin(), numbers.end());
    float low = numbers[cut];
    float high = numbers[numbers.size() - 1 - cut];
    if (low == high) {
        low = numbers.front();
        high = numbers.back();
    }
    // Light is measured from darkness.
    if (view.linear) low = std::min(0.0F, low);
    if (!(high - low > 1e-30F)) high = low + std::max(std::abs(low), 1e-30F);
    return {low, high, view.linear};
}

}  // namespace

size_t sampleSize(PconvSampleType type) {
    switch (type) {
        case PCONV_SAMPLE_TYPE_U8:
            return 1;
        case PCONV_SAMPLE_TYPE_U16:
        case PCONV_SAMPLE_TYPE_F16:
            return 2;
        case PCONV_SAMPLE_TYPE_F32:
            break;
    }
    return 4;
}

View parse(const PconvImage* source, const uint8_t* mask, const PconvInpaintOptions& options) {
    View view{};
    parseImage(copyVersioned(source, pconvDefaultImage(), "image"), view);
    between("options->polarity", enumNumber(options.polarity), 0, PCONV_MASK_HOLE_IS_ONE);
    between("options->mask_levels", enumNumber(options.mask_levels), 0, PCONV_MASK_LEVELS_CONFIDENCE);
    view.mask = &notNull(mask, "mask");
    view.mask_row_stride = options.mask_row_stride == 0 ? view.width : options.mask_row_stride;
    const int64_t step = magnitude(view.mask_row_stride);
    if (step < view.width || step > PTRDIFF_MAX / view.height)
        outOfRange("options->mask_row_stride", view.mask_row_stride,
                   "at least the width of " + std::to_string(view.width) +
                       " bytes, or the same below 0, and a mask that fits in memory");
    view.levels = options.mask_levels;
    for (int byte = 0; byte < 256; ++byte) {
        const int one = view.levels == PCONV_MASK_LEVELS_BINARY ? (byte != 0 ? 255 : 0) : byte;
        view.hole_of[byte] =
            static_cast<uint8_t>(options.polarity == PCONV_MASK_HOLE_IS_ONE ? one : 255 - one);
    }
    return view;
}

View parsePreview(const PconvImage* source, const View& of) {
    const PconvImage preview = copyVersioned(source, pconvDefaultImage(), "preview");
    View view{};
    parseImage(preview, view);
    if (view.channels != of.channels || view.type != of.type)
        invalid("the preview has other channels or another sample type than the image; expected the same");
    const int64_t step = (of.width + view.width - 1) / view.width;
    if ((of.width + step - 1) / step != view.width || (of.height + step - 1) / step != view.height)
        invalid("the preview is " + std::to_string(view.width) + "x" + std::to_string(view.height) +
                "; expected " + std::to_string(of.width) + "x" + std::to_string(of.height) +
                " divided by a whole number, rounded up");
    return view;
}

Codec codecOf(const View& view) {
    if (view.value_min != 0.0F || view.value_max != 0.0F)
        return {view.value_min, view.value_max, view.linear};
    switch (view.type) {
        case PCONV_SAMPLE_TYPE_U8:
            return {0.0F, 255.0F, view.linear};
        case PCONV_SAMPLE_TYPE_U16:
            return {0.0F, 65535.0F, view.linear};
        case PCONV_SAMPLE_TYPE_F16:
            return measured<Half>(view);
        case PCONV_SAMPLE_TYPE_F32:
            break;
    }
    return measured<float>(view);
}

}  // namespace pconv::inpaint
