#include "fill_rgba.h"

#include <stdlib.h>
#include <string.h>

enum { kColours = 3, kSamples = 4 };

typedef struct Share {
    PconvProgressCallback callback;
    void* user;
    double start, size;
} Share;

static int forward(void* user, double done) {
    const Share* share = user;
    return share->callback == NULL ? 0 : share->callback(share->user, share->start + share->size * done);
}

static PconvStatus run(const PconvFiller* filler, float* samples, int64_t width, int64_t height, int channels,
                       const uint8_t* mask, PconvMaskLevels levels, PconvMaskPolarity polarity,
                       Share* share) {
    PconvImage image = pconvDefaultImage();
    PconvInpaintOptions options = pconvDefaultInpaintOptions();
    image.pixels = samples;
    image.width = width;
    image.height = height;
    image.channels = channels;
    image.sample_type = PCONV_SAMPLE_TYPE_F32;
    image.pixel_stride = kSamples;
    image.value_max = 1.0F;
    options.mask_levels = levels;
    options.polarity = polarity;
    options.progress = forward;
    options.user = share;
    if (filler->network != NULL && channels == kColours)
        return pconvInpaintWithNetwork(filler->device, filler->model, filler->network, &image, mask, &options,
                                       0);
    return pconvRunInpainter(filler->inpainter, &image, mask, &options);
}

static uint8_t byteOf(float alpha) {
    return (uint8_t)(alpha <= 0.0F ? 0.0F : alpha >= 1.0F ? 255.0F : alpha * 255.0F + 0.5F);
}

/* The transparency is the hole. */
static PconvStatus fillTransparent(const PconvFiller* filler, float* rgba, int64_t width, int64_t height,
                                   uint8_t* known, Share* share) {
    const int64_t pixels = width * height;
    PconvStatus status;
    int64_t i;
    for (i = 0; i < pixels; ++i) known[i] = byteOf(rgba[kSamples * i + kColours]);
    status = run(filler, rgba, width, height, kColours, known, PCONV_MASK_LEVELS_CONFIDENCE,
                 PCONV_MASK_VALID_IS_ONE, share);
    if (status != PCONV_SUCCESS) return status;
    for (i = 0; i < pixels; ++i) rgba[kSamples * i + kColours] = 1.0F;
    return PCONV_SUCCESS;
}

static PconvStatus fillMasked(const PconvFiller* filler, float* rgba, int64_t width, int64_t height,
                              const uint8_t* mask, uint8_t* unknown, float* before, Share* share) {
    const int64_t pixels = width * height;
    int has_alpha = 0;
    PconvStatus status;
    int64_t i;
    memcpy(before, rgba, (size_t)pixels * kSamples * sizeof(float));
    for (i = 0; i < pixels; ++i) {
        const float alpha = rgba[kSamples * i + kColours];
        unknown[i] = alpha <= 0.0F ? 255 : mask[i];
        has_alpha = has_alpha || (alpha < 1.0F && mask[i] == 0);
    }
    share->size = has_alpha ? 0.5 : 1.0;
    status = run(filler, rgba, width, height, kColours, unknown, PCONV_MASK_LEVELS_BLEND,
                 PCONV_MASK_HOLE_IS_ONE, share);
    if (status == PCONV_SUCCESS && has_alpha) {
        share->start = 0.5;
        status = run(filler, rgba + kColours, width, height, 1, mask, PCONV_MASK_LEVELS_BLEND,
                     PCONV_MASK_HOLE_IS_ONE, share);
    }
    for (i = 0; i < pixels; ++i) {
        if (status != PCONV_SUCCESS || mask[i] == 0)
            memcpy(rgba + kSamples * i, before + kSamples * i, kSamples * sizeof(float));
        else if (!has_alpha) {
            /* All about the hole is opaque. */
            float* alpha = rgba + kSamples * i + kColours;
            *alpha += (1.0F - *alpha) * ((float)mask[i] / 255.0F);
        }
    }
    return status;
}

/* The network of a file that describes itself, for pictures of any size. */
static PconvStatus loadNetwork(const char* path, PconvFiller* filler) {
    PconvModelInfo info = pconvDefaultModelInfo();
    int64_t size[PCONV_MAX_SPATIAL_DIMS] = {0, 0, 0};
    PconvStatus status = pconvLoadModel(path, &filler->model);
    if (status == PCONV_SUCCESS) status = pconvGetModelInfo(filler->model, &info);
    if (status != PCONV_SUCCESS) return status;
    size[0] = size[1] = info.fixed_size != 0 ? info.fixed_size : info.size_multiple;
    return pconvLoadNetwork(filler->device, path, size, &filler->network);
}

PconvStatus pconvOpenFiller(const char* device, const char* model, PconvFiller* filler) {
    PconvStatus status;
    memset(filler, 0, sizeof *filler);
    status = pconvCreateDevice(device != NULL && *device != '\0' ? device : "cpu", NULL, &filler->device);
    if (status == PCONV_SUCCESS) status = pconvCreateInpainter(filler->device, &filler->inpainter);
    if (status == PCONV_SUCCESS && model != NULL && *model != '\0') status = loadNetwork(model, filler);
    if (status != PCONV_SUCCESS) pconvCloseFiller(filler);
    return status;
}

void pconvCloseFiller(PconvFiller* filler) {
    pconvReleaseNetwork(filler->network);
    pconvReleaseModel(filler->model);
    pconvReleaseInpainter(filler->inpainter);
    pconvReleaseDevice(filler->device);
    memset(filler, 0, sizeof *filler);
}

PconvStatus pconvFillRgba(const PconvFiller* filler, float* rgba, int64_t width, int64_t height,
                          const uint8_t* mask, PconvProgressCallback progress, void* user) {
    const size_t pixels = (size_t)width * (size_t)height;
    Share share = {progress, user, 0.0, 1.0};
    uint8_t* bytes = malloc(pixels);
    float* before = mask == NULL ? NULL : malloc(pixels * kSamples * sizeof(float));
    PconvStatus status = PCONV_ERROR_OUT_OF_MEMORY;
    if (bytes != NULL && (mask == NULL || before != NULL))
        status = mask == NULL ? fillTransparent(filler, rgba, width, height, bytes, &share)
                              : fillMasked(filler, rgba, width, height, mask, bytes, before, &share);
    free(before);
    free(bytes);
    return status;
}
