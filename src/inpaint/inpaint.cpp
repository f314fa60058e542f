// The C boundary of the inpainting method.
#include "pconv/inpaint.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "core/checked.h"
#include "core/handles.h"
#include "inpaint/inpainter.h"

using namespace pconv;
using namespace pconv::inpaint;

namespace {

// An inpainter, shared by its handle and its jobs.
struct Shared {
    PconvDevice_T device;
    Inpainter inpainter{&device};
    std::mutex mutex;
    explicit Shared(PconvDevice_T of) : device(std::move(of)) {}
};

// The caller's callback as what the method calls.
ProgressFunction callerProgress(const PconvInpaintOptions& options) {
    return [&options](double done) {
        if (options.progress(options.user, done) != 0)
            fail(PCONV_ERROR_CANCELLED, "the progress callback asked to stop");
    };
}

PconvInpaintOptions settingsOf(const PconvInpaintOptions* options) {
    return options == nullptr ? pconvDefaultInpaintOptions()
                              : copyVersioned(options, pconvDefaultInpaintOptions(), "options");
}

}  // namespace

PconvStatus pconvInpaint(PconvDevice device, const PconvImage* image, const uint8_t* mask,
                         const PconvInpaintOptions* options) {
    return guarded([&] {
        notNull(device, "device");
        const PconvInpaintOptions settings = settingsOf(options);
        View view = parse(image, mask, settings);
        const ProgressFunction progress = callerProgress(settings);
        Inpainter(device).fill(view, settings.progress != nullptr ? &progress : nullptr);
    });
}

struct PconvInpainter_T {
    std::shared_ptr<Shared> shared;
};

struct PconvInpaintJob_T {
    std::shared_ptr<Shared> shared;
    View view;
    PconvInpaintOptions options;
    std::atomic<double> done{0.0};
    std::atomic<bool> stop{false}, finished{false};
    PconvStatus status = PCONV_SUCCESS;  // both valid once finished
    std::string message;
    std::mutex joining;
    std::thread thread;

    void run() {
        status = guarded([&] {
            const ProgressFunction progress = [this](double share) {
                done = share;
                if (stop) fail(PCONV_ERROR_CANCELLED, "the job was asked to stop");
                if (options.progress != nullptr && options.progress(options.user, share) != 0)
                    fail(PCONV_ERROR_CANCELLED, "the progress callback asked to stop");
            };
            const std::lock_guard<std::mutex> lock(shared->mutex);
            progress(0.0);
            shared->inpainter.fill(view, &progress);
            done = 1.0;
        });
        if (status != PCONV_SUCCESS) message = pconvGetLastError();
        finished = true;
    }

    void join() {
        const std::lock_guard<std::mutex> lock(joining);
        if (thread.joinable()) thread.join();
    }
};

PconvStatus pconvCreateInpainter(PconvDevice device, PconvInpainter* inpainter) {
    return guarded([&] {
        notNull(device, "device");
        notNull(inpainter, "inpainter");
        *inpainter = new PconvInpainter_T{std::make_shared<Shared>(*device)};
    });
}

void pconvReleaseInpainter(PconvInpainter inpainter) {
    delete inpainter;
}

PconvStatus pconvRunInpainter(PconvInpainter inpainter, const PconvImage* image, const uint8_t* mask,
                              const PconvInpaintOptions* options) {
    return guarded([&] {
        Shared& shared = *notNull(inpainter, "inpainter").shared;
        const PconvInpaintOptions settings = settingsOf(options);
        View view = parse(image, mask, settings);
        const ProgressFunction progress = callerProgress(settings);
        const std::lock_guard<std::mutex> lock(shared.mutex);
        shared.inpainter.fill(view, settings.progress != nullptr ? &progress : nullptr);
    });
}

PconvStatus pconvPreviewInpainter(PconvInpainter inpainter, const PconvImage* image, const uint8_t* mask,
                                  const PconvInpaintOptions* options, const PconvImage* preview) {
    return guarded([&] {
        Shared& shared = *notNull(inpainter, "inpainter").shared;
        const PconvInpaintOptions settings = settingsOf(options);
        View view = parse(image, mask, settings);
        View reduced = parsePreview(preview, view);
        const ProgressFunction progress = callerProgress(settings);
        const std::lock_guard<std::mutex> lock(shared.mutex);
        shared.inpainter.preview(view, reduced, settings.progress != nullptr ? &progress : nullptr);
    });
}

PconvStatus pconvStartInpainter(PconvInpainter inpainter, const PconvImage* image, const uint8_t* mask,
                                const PconvInpaintOptions* options, PconvInpaintJob* job) {
    return guarded([&] {
        notNull(inpainter, "inpainter");
        notNull(job, "job");
        auto started = std::make_unique<PconvInpaintJob_T>();
        started->shared = inpainter->shared;
        started->options = settingsOf(options);
        started->view = parse(image, mask, started->options);
        try {
            started->thread = std::thread([&work = *started] { work.run(); });
        } catch (const std::system_error& error) {
            fail(PCONV_ERROR_OUT_OF_MEMORY, std::string("the system grants no thread: ") + error.what());
        }
        *job = started.release();
    });
}

PconvStatus pconvGetInpaintProgress(PconvInpaintJob job, double* done, int32_t* finished) {
    return guarded([&] {
        notNull(job, "job");
        // In this order, so that who reads that it has finished reads the last fraction too.
        const bool is_finished = job->finished;
        if (done != nullptr) *done = job->done;
        if (finished != nullptr) *finished = is_finished ? 1 : 0;
    });
}

PconvStatus pconvCancelInpaint(PconvInpaintJob job) {
    return guarded([&] { notNull(job, "job").stop = true; });
}

PconvStatus pconvWaitInpaint(PconvInpaintJob job) {
    return guarded([&] {
        notNull(job, "job").join();
        if (job->status != PCONV_SUCCESS) fail(job->status, job->message);
    });
}

void pconvReleaseInpaintJob(PconvInpaintJob job) {
    if (job == nullptr) return;
    job->stop = true;
    job->join();
    delete job;
}
