// The C boundary of the inpainting method: the caller's picture and mask, as the pyramid wants them.
#include "pconv/inpaint.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

#include "core/checked.h"
#include "core/handles.h"
#include "inpaint/pyramid.h"

using namespace pconv;
using inpaint::kLanes;
using inpaint::Plane4;

namespace {

constexpr int kMaxChannels = 3;
constexpr float kLargest = 65504.0F;  // beyond it, squares of differences could lose themselves in infinity
constexpr float kGray = 0.5F;

// The caller's picture and mask, checked.
struct View {
    unsigned char* pixels;
    int64_t height, width, pixel_stride, row_stride;
    int channels;
    PconvSampleType type;
    const uint8_t* mask;
    int64_t mask_row_stride;
    bool hole_is_one;

    const uint8_t* maskRow(int64_t y) const { return mask + y * mask_row_stride; }
    bool isHole(const uint8_t* row, int64_t x) const { return (row[x] != 0) == hole_is_one; }
};

size_t sampleSize(PconvSampleType type) {
    return type == PCONV_SAMPLE_TYPE_U8 ? 1 : type == PCONV_SAMPLE_TYPE_U16 ? 2 : 4;
}

[[noreturn]] void outOfRange(const char* name, int64_t value, const std::string& expected) {
    invalid(std::string(name) + " is " + std::to_string(value) + "; expected " + expected);
}

View parse(const PconvImage* source, const uint8_t* mask, const PconvInpaintOptions& options) {
    const PconvImage image = copyVersioned(source, pconvDefaultImage(), "image");
    const auto between = [](const char* name, int64_t value, int64_t least, int64_t most) {
        if (value < least || value > most)
            outOfRange(name, value, std::to_string(least) + " to " + std::to_string(most));
    };
    between("image->width", image.width, 1, kMaxSize);
    between("image->height", image.height, 1, kMaxSize);
    between("image->channels", image.channels, 1, kMaxChannels);
    between("image->sample_type", enumNumber(image.sample_type), 0, PCONV_SAMPLE_TYPE_F32);
    between("options->polarity", enumNumber(options.polarity), 0, PCONV_MASK_HOLE_IS_ONE);
    notNull(static_cast<unsigned char*>(image.pixels), "image->pixels");
    notNull(mask, "mask");

    View view{};
    const auto size = static_cast<int64_t>(sampleSize(image.sample_type));
    view.pixel_stride = image.pixel_stride == 0 ? image.channels : image.pixel_stride;
    between("image->pixel_stride", view.pixel_stride, image.channels, kMaxSize / 4);
    // A row of the last pixel's samples, not its gap, must fit.
    const int64_t row = ((image.width - 1) * view.pixel_stride + image.channels) * size;
    view.row_stride = image.row_stride == 0 ? image.width * view.pixel_stride * size : image.row_stride;
    if (view.row_stride < row || view.row_stride % size != 0 || view.row_stride > PTRDIFF_MAX / image.height)
        outOfRange("image->row_stride", view.row_stride,
                   "a multiple of " + std::to_string(size) + " of at least " + std::to_string(row) +
                       " bytes, and a picture that fits in memory");
    view.mask_row_stride = options.mask_row_stride == 0 ? image.width : options.mask_row_stride;
    if (view.mask_row_stride < image.width || view.mask_row_stride > PTRDIFF_MAX / image.height)
        outOfRange("options->mask_row_stride", view.mask_row_stride,
                   "at least the width of " + std::to_string(image.width) +
                       " bytes, and a mask that fits in memory");
    if (reinterpret_cast<uintptr_t>(image.pixels) % static_cast<size_t>(size) != 0)
        invalid("image->pixels is not aligned to its samples of " + std::to_string(size) + " bytes");
    if (image.width > PTRDIFF_MAX / 64 / image.height)
        fail(PCONV_ERROR_OUT_OF_MEMORY, "the image has more pixels than memory can hold");
    view.pixels = static_cast<unsigned char*>(image.pixels);
    view.height = image.height;
    view.width = image.width;
    view.channels = image.channels;
    view.type = image.sample_type;
    view.mask = mask;
    view.hole_is_one = options.polarity == PCONV_MASK_HOLE_IS_ONE;
    return view;
}

// Both ends of the integer types are whole: 0 is 0 and the largest is 1.
template <typename T>
float toFloat(T sample) {
    if constexpr (std::is_floating_point_v<T>)
        return sample;
    else
        return static_cast<float>(sample) * (1.0F / static_cast<float>(std::numeric_limits<T>::max()));
}

template <typename T>
T fromFloat(float value) {
    if constexpr (std::is_floating_point_v<T>) {
        return value;
    } else {
        constexpr auto kMax = static_cast<float>(std::numeric_limits<T>::max());
        // Never negative, so that this rounds, and unlike lround as a vector instruction.
        // NOLINTNEXTLINE(bugprone-incorrect-roundings)
        return static_cast<T>(std::clamp(value, 0.0F, 1.0F) * kMax + 0.5F);
    }
}

bool isUsable(float value) {
    return std::abs(value) <= kLargest;  // false for NaN
}

template <typename T>
void loadRows(const View& view, int64_t begin, int64_t end, const Plane4& plane, uint8_t* valid) {
    for (int64_t y = begin; y < end; ++y) {
        const auto* in = reinterpret_cast<const T*>(view.pixels + y * view.row_stride);
        const uint8_t* const mask = view.maskRow(y);
        float* out = plane.row(y);
        for (int64_t x = 0; x < view.width; ++x, in += view.pixel_stride, out += kLanes) {
            float colour[kMaxChannels] = {};
            bool usable = !view.isHole(mask, x);
            if (usable)
                for (int c = 0; c < view.channels; ++c) {
                    colour[c] = toFloat(in[c]);
                    usable = usable && isUsable(colour[c]);
                }
            for (int c = 0; c < kMaxChannels; ++c) out[c] = usable ? colour[c] : 0.0F;
            out[kMaxChannels] = usable ? 1.0F : 0.0F;
            valid[y * view.width + x] = usable ? 1 : 0;
        }
    }
}

// `colour` gives the four lanes of a pixel.
template <typename T, typename Colour>
void storeRows(const View& view, int64_t begin, int64_t end, const Colour& colour) {
    for (int64_t y = begin; y < end; ++y) {
        auto* const out = reinterpret_cast<T*>(view.pixels + y * view.row_stride);
        const uint8_t* const mask = view.maskRow(y);
        for (int64_t x = 0; x < view.width; ++x)
            if (view.isHole(mask, x))
                for (int c = 0; c < view.channels; ++c)
                    out[x * view.pixel_stride + c] = fromFloat<T>(colour(y, x)[c]);
    }
}

template <typename T>
bool isKnown(const View& view, int64_t y, int64_t x) {
    const auto* in = reinterpret_cast<const T*>(view.pixels + y * view.row_stride) + x * view.pixel_stride;
    return std::all_of(in, in + view.channels, [](T sample) { return isUsable(toFloat(sample)); });
}

enum class Task { nothing, gray, fill };

template <typename T>
Task taskOf(const View& view) {
    bool any_hole = false;
    bool any_known = false;
    for (int64_t y = 0; y < view.height && !(any_hole && any_known); ++y) {
        const uint8_t* const mask = view.maskRow(y);
        for (int64_t x = 0; x < view.width; ++x) {
            const bool hole = view.isHole(mask, x);
            any_hole = any_hole || hole;
            any_known = any_known || (!hole && isKnown<T>(view, y, x));
        }
    }
    return !any_hole ? Task::nothing : any_known ? Task::fill : Task::gray;
}

int threadsOf(const DeviceState& device) {
    int threads = device.host->threads();
    if (threads <= 0) {
        const char* omp = std::getenv("OMP_NUM_THREADS");
        threads = omp != nullptr ? std::atoi(omp) : 0;
    }
    if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
    return std::clamp(threads, 1, 256);
}

template <typename T>
void inpaintAs(PconvDevice device, const View& view, const PconvInpaintOptions& options) {
    switch (taskOf<T>(view)) {
        case Task::nothing:
            return;
        case Task::gray: {
            const float gray[kLanes] = {kGray, kGray, kGray, 1.0F};
            storeRows<T>(view, 0, view.height, [&](int64_t, int64_t) { return gray; });
            return;
        }
        case Task::fill:
            break;
    }
    inpaint::Picture picture;
    picture.height = view.height;
    picture.width = view.width;
    picture.channels = view.channels;
    picture.load = [&](int64_t begin, int64_t end, const Plane4& plane, uint8_t* valid) {
        loadRows<T>(view, begin, end, plane, valid);
    };
    picture.store = [&](int64_t begin, int64_t end, const Plane4& plane) {
        storeRows<T>(view, begin, end, [&](int64_t y, int64_t x) { return plane.row(y) + x * kLanes; });
    };
    if (options.progress != nullptr)
        picture.progress = [&](double done) {
            if (options.progress(options.user, done) != 0)
                fail(PCONV_ERROR_CANCELLED, "the progress callback asked to stop");
        };
    ThreadPool pool(threadsOf(*device->state));
    inpaint::fill(device, pool, picture);
}

}  // namespace

PconvStatus pconvInpaint(PconvDevice device, const PconvImage* image, const uint8_t* mask,
                         const PconvInpaintOptions* options) {
    return guarded([&] {
        notNull(device, "device");
        const PconvInpaintOptions settings =
            options == nullptr ? pconvDefaultInpaintOptions()
                               : copyVersioned(options, pconvDefaultInpaintOptions(), "options");
        const View view = parse(image, mask, settings);
        switch (view.type) {
            case PCONV_SAMPLE_TYPE_U8:
                return inpaintAs<uint8_t>(device, view, settings);
            case PCONV_SAMPLE_TYPE_U16:
                return inpaintAs<uint16_t>(device, view, settings);
            case PCONV_SAMPLE_TYPE_F32:
                return inpaintAs<float>(device, view, settings);
        }
    });
}
