// The C boundary of the inpainting method: the caller's picture and mask, as the pyramid wants them.
#include "pconv/inpaint.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/checked.h"
#include "core/handles.h"
#include "inpaint/pyramid.h"
#include "inpaint/view.h"

using namespace pconv;
using namespace pconv::inpaint;

namespace {

constexpr int kColours = kLanes - 1;  // how many channels are filled at a time

template <typename T>
class Job {
  public:
    Job(PconvDevice device, View& view, const PconvInpaintOptions& options)
        : device_(device), view_(view), options_(options), codec_(codecOf(view)) {}

    void run() {
        countHoles();
        if (row_first_.back() == 0) return;
        filled_.resize(row_first_.back() * static_cast<size_t>(view_.channels));
        if (any_known_)
            for (int first = 0; first < view_.channels; first += kColours) fillChannels(first);
        else
            std::fill(filled_.begin(), filled_.end(), codec_.template store<T>(codec_.middle()));
        commit();
    }

  private:
    // Which hole pixel each row begins with.
    void countHoles() {
        row_first_.assign(static_cast<size_t>(view_.height) + 1, 0);
        for (int64_t y = 0; y < view_.height; ++y) {
            const uint8_t* const mask = view_.maskRow(y);
            size_t count = 0;
            for (int64_t x = 0; x < view_.width; ++x) {
                const int hole = view_.hole(mask, x);
                if (hole != 0) ++count;
                any_known_ = any_known_ || (hole < view_.unknownFrom() && isKnown(pixel(y, x)));
            }
            row_first_[static_cast<size_t>(y) + 1] = row_first_[static_cast<size_t>(y)] + count;
        }
    }

    const T* pixel(int64_t y, int64_t x) const {
        return reinterpret_cast<const T*>(view_.row(y)) + x * view_.pixel_stride;
    }

    bool isKnown(const T* samples) const {
        return kIsWhole<T> || std::all_of(samples, samples + view_.channels,
                                          [&](T sample) { return Codec::isUsable(codec_.load(sample)); });
    }

    void fillChannels(int first) {
        Picture picture;
        picture.height = view_.height;
        picture.width = view_.width;
        picture.channels = std::min(kColours, view_.channels - first);
        picture.partly_known = view_.levels == PCONV_MASK_LEVELS_CONFIDENCE;
        picture.load = [&](int64_t begin, int64_t end, const Plane4& plane, uint8_t* valid) {
            load(first, picture.channels, begin, end, plane, valid);
        };
        picture.store = [&](int64_t begin, int64_t end, const Plane4& plane) {
            store(first, picture.channels, begin, end, plane);
        };
        const double share = 1.0 / (view_.channels > kColours ? 2.0 : 1.0);
        if (options_.progress != nullptr)
            picture.progress = [&](double done) {
                if (options_.progress(options_.user, share * (done + (first > 0 ? 1.0 : 0.0))) != 0)
                    fail(PCONV_ERROR_CANCELLED, "the progress callback asked to stop");
            };
        ThreadPool pool(threads());
        inpaint::fill(device_, pool, picture);
    }

    void load(int first, int channels, int64_t begin, int64_t end, const Plane4& plane,
              uint8_t* valid) const {
        const int unknown = view_.unknownFrom();
        for (int64_t y = begin; y < end; ++y) {
            const T* in = pixel(y, 0);
            const uint8_t* const mask = view_.maskRow(y);
            float* out = plane.row(y);
            for (int64_t x = 0; x < view_.width; ++x, in += view_.pixel_stride, out += kLanes) {
                const int hole = view_.hole(mask, x);
                if (hole >= unknown || !isKnown(in)) {
                    std::fill_n(out, kLanes, 0.0F);
                    valid[y * view_.width + x] = 0;
                    continue;
                }
                const float weight = 1.0F - static_cast<float>(hole) * (1.0F / 255.0F);
                for (int c = 0; c < kColours; ++c)
                    out[c] = c < channels ? weight * codec_.load(in[first + c]) : 0.0F;
                out[kColours] = weight;
                valid[y * view_.width + x] = 1;
            }
        }
    }

    void store(int first, int channels, int64_t begin, int64_t end, const Plane4& plane) {
        const bool blends = view_.levels == PCONV_MASK_LEVELS_BLEND;
        for (int64_t y = begin; y < end; ++y) {
            T* out = filled_.data() + row_first_[static_cast<size_t>(y)] * channelCount();
            const T* in = pixel(y, 0);
            const uint8_t* const mask = view_.maskRow(y);
            const float* colour = plane.row(y);
            for (int64_t x = 0; x < view_.width; ++x, in += view_.pixel_stride, colour += kLanes) {
                const int hole = view_.hole(mask, x);
                if (hole == 0) continue;
                for (int c = 0; c < channels; ++c) {
                    float number = codec_.number(colour[c]);
                    if (blends && hole < 255) {
                        const float own = toNumber(in[first + c]);
                        // What is no number has no share.
                        if (Codec::isUsable(codec_.load(in[first + c])))
                            number = own + (number - own) * (static_cast<float>(hole) * (1.0F / 255.0F));
                    }
                    out[first + c] = codec_.template store<T>(number);
                }
                out += channelCount();
            }
        }
    }

    // The picture is written when nothing can fail any more.
    void commit() {
        for (int64_t y = 0; y < view_.height; ++y) {
            const T* from = filled_.data() + row_first_[static_cast<size_t>(y)] * channelCount();
            if (row_first_[static_cast<size_t>(y)] == row_first_[static_cast<size_t>(y) + 1]) continue;
            T* const row = reinterpret_cast<T*>(view_.row(y));
            const uint8_t* const mask = view_.maskRow(y);
            for (int64_t x = 0; x < view_.width; ++x)
                if (view_.hole(mask, x) != 0) {
                    std::copy_n(from, view_.channels, row + x * view_.pixel_stride);
                    from += channelCount();
                }
        }
    }

    size_t channelCount() const { return static_cast<size_t>(view_.channels); }

    int threads() const {
        int threads = device_->state->host->threads();
        if (threads <= 0) {
            const char* omp = std::getenv("OMP_NUM_THREADS");
            threads = omp != nullptr ? std::atoi(omp) : 0;
        }
        if (threads <= 0) threads = static_cast<int>(std::thread::hardware_concurrency());
        return std::clamp(threads, 1, 256);
    }

    PconvDevice device_;
    View& view_;
    const PconvInpaintOptions& options_;
    Codec codec_;
    bool any_known_ = false;
    std::vector<size_t> row_first_;
    std::vector<T> filled_;  // the channels of each hole pixel
};

}  // namespace

PconvStatus pconvInpaint(PconvDevice device, const PconvImage* image, const uint8_t* mask,
                         const PconvInpaintOptions* options) {
    return guarded([&] {
        notNull(device, "device");
        const PconvInpaintOptions settings =
            options == nullptr ? pconvDefaultInpaintOptions()
                               : copyVersioned(options, pconvDefaultInpaintOptions(), "options");
        View view = parse(image, mask, settings);
        switch (view.type) {
            case PCONV_SAMPLE_TYPE_U8:
                return Job<uint8_t>(device, view, settings).run();
            case PCONV_SAMPLE_TYPE_U16:
                return Job<uint16_t>(device, view, settings).run();
            case PCONV_SAMPLE_TYPE_F16:
                return Job<Half>(device, view, settings).run();
            case PCONV_SAMPLE_TYPE_F32:
                return Job<float>(device, view, settings).run();
        }
    });
}
