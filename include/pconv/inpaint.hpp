// Filling holes in pictures, for C++17: inpaint.h, and pconvInpaintWithNetwork of models.h, with ownership
// and exceptions as in pconv.hpp. Pictures, masks, threads and errors are as inpaint.h documents them; a fill
// that was stopped throws pconv::Error of PCONV_ERROR_CANCELLED.
#ifndef PCONV_INPAINT_HPP
#define PCONV_INPAINT_HPP

#include <cstdint>
#include <exception>
#include <functional>

#include "pconv/inpaint.h"
#include "pconv/models.h"
#include "pconv/pconv.hpp"

namespace pconv {
inline namespace v0 {

// A picture in the caller's memory; the fields are those of PconvImage, with these defaults.
struct Image : PconvImage {
    Image(uint8_t* samples, int64_t columns, int64_t rows, int32_t colours = 3)
        : Image(samples, columns, rows, colours, PCONV_SAMPLE_TYPE_U8) {}
    Image(uint16_t* samples, int64_t columns, int64_t rows, int32_t colours = 3)
        : Image(samples, columns, rows, colours, PCONV_SAMPLE_TYPE_U16) {}
    Image(float* samples, int64_t columns, int64_t rows, int32_t colours = 3)
        : Image(samples, columns, rows, colours, PCONV_SAMPLE_TYPE_F32) {}
    // Of any type; halves have none in C++17.
    Image(void* samples, int64_t columns, int64_t rows, int32_t colours, PconvSampleType type)
        : PconvImage(pconvDefaultImage()) {
        pixels = samples;
        width = columns;
        height = rows;
        channels = colours;
        sample_type = type;
    }
};

// Called with the fraction done; false stops the work, and so does what it throws, which comes out of the
// call.
using InpaintProgress = std::function<bool(double done)>;

namespace detail {

// Runs `call` with options that have the progress in them.
template <typename Call>
void withProgress(const PconvInpaintOptions& options, const InpaintProgress& progress, Call call) {
    if (!progress) {
        check(call(options));
        return;
    }
    struct Caller {
        const InpaintProgress& progress;
        std::exception_ptr thrown;
    } caller{progress, nullptr};
    PconvInpaintOptions settings = options;
    settings.user = &caller;
    settings.progress = [](void* user, double done) {
        Caller& asked = *static_cast<Caller*>(user);
        try {
            return asked.progress(done) ? 0 : 1;
        } catch (...) {
            asked.thrown = std::current_exception();
            return 1;
        }
    };
    const PconvStatus status = call(settings);
    if (caller.thrown) std::rethrow_exception(caller.thrown);
    check(status);
}

}  // namespace detail

// Fills the holes of `image` in place; `mask` has one byte a pixel.
inline void inpaint(const Device& device, const PconvImage& image, const uint8_t* mask,
                    const PconvInpaintOptions& options = pconvDefaultInpaintOptions(),
                    const InpaintProgress& progress = {}) {
    detail::withProgress(options, progress, [&](const PconvInpaintOptions& settings) {
        return pconvInpaint(device.get(), &image, mask, &settings);
    });
}

// The same by a network, which is resizable, as Network::load makes it; a `tile` of 0 stands for 512 pixels.
inline void inpaint(const Device& device, const Model& model, const Network& network, const PconvImage& image,
                    const uint8_t* mask, const PconvInpaintOptions& options = pconvDefaultInpaintOptions(),
                    const InpaintProgress& progress = {}, int64_t tile = 0) {
    detail::withProgress(options, progress, [&](const PconvInpaintOptions& settings) {
        return pconvInpaintWithNetwork(device.get(), model.get(), network.get(), &image, mask, &settings,
                                       tile);
    });
}

// A fill in a thread of its own. The picture and the mask outlive it, untouched; to destroy it stops it.
class InpaintJob : public detail::Owner<PconvInpaintJob, pconvReleaseInpaintJob> {
  public:
    double done() const {
        double share = 0.0;
        detail::check(pconvGetInpaintProgress(handle_, &share, nullptr));
        return share;
    }
    // Well or not.
    bool finished() const {
        int32_t has_finished = 0;
        detail::check(pconvGetInpaintProgress(handle_, nullptr, &has_finished));
        return has_finished != 0;
    }
    // Does not wait.
    void cancel() const { detail::check(pconvCancelInpaint(handle_)); }
    // Throws what the job ended with.
    void wait() const { detail::check(pconvWaitInpaint(handle_)); }

  private:
    friend class Inpainter;
    explicit InpaintJob(PconvInpaintJob handle) : Owner(handle) {}
};

// Fills one picture after another, and keeps operators and memory for the next: brush strokes, frames.
class Inpainter : public detail::Owner<PconvInpainter, pconvReleaseInpainter> {
  public:
    explicit Inpainter(const Device& device) { detail::check(pconvCreateInpainter(device.get(), &handle_)); }
    void run(const PconvImage& image, const uint8_t* mask,
             const PconvInpaintOptions& options = pconvDefaultInpaintOptions(),
             const InpaintProgress& progress = {}) const {
        detail::withProgress(options, progress, [&](const PconvInpaintOptions& settings) {
            return pconvRunInpainter(handle_, &image, mask, &settings);
        });
    }
    // What the filled picture would look like, in `reduced`; the image stays as it is.
    void preview(const PconvImage& image, const uint8_t* mask, const PconvImage& reduced,
                 const PconvInpaintOptions& options = pconvDefaultInpaintOptions()) const {
        detail::check(pconvPreviewInpainter(handle_, &image, mask, &options, &reduced));
    }
    InpaintJob start(const PconvImage& image, const uint8_t* mask,
                     const PconvInpaintOptions& options = pconvDefaultInpaintOptions()) const {
        PconvInpaintJob job = nullptr;
        detail::check(pconvStartInpainter(handle_, &image, mask, &options, &job));
        return InpaintJob(job);
    }
};

}  // namespace v0
}  // namespace pconv

#endif  // PCONV_INPAINT_HPP
