// The C boundary of the inpainting method.
#include "pconv/inpaint.h"

#include "core/checked.h"
#include "core/handles.h"
#include "inpaint/inpainter.h"

using namespace pconv;
using namespace pconv::inpaint;

namespace {

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
