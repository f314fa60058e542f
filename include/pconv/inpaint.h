/*
 * Filling holes in pictures without trained weights, by partial convolutions on any pconv device. The result
 * is smooth: right for scratches, dust, wires and previews; it continues edges and gradients but invents no
 * texture. The method is described in docs/inpainting.md.
 *
 * The conventions of pconv.h hold here too.
 */
#ifndef PCONV_INPAINT_H
#define PCONV_INPAINT_H

#include <stddef.h>
#include <stdint.h>

#include "pconv/pconv.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum PconvSampleType {
    PCONV_SAMPLE_TYPE_U8 = 0,
    PCONV_SAMPLE_TYPE_U16 = 1, /* in the host's byte order */
    PCONV_SAMPLE_TYPE_F32 = 2,
    PCONV_SAMPLE_TYPE_F16 = 3 /* IEEE binary16 */
} PconvSampleType;

typedef enum PconvTransfer {
    PCONV_TRANSFER_AS_STORED =
        0,                    /* colours are mixed as they are stored: pictures for displays, measurements */
    PCONV_TRANSFER_LINEAR = 1 /* samples are linear light, which is mixed under the curve of sRGB, continued
                                 beyond both ends: an edge is then what the eye takes for one */
} PconvTransfer;

/*
 * A picture in the caller's memory: the channels of a pixel next to each other, rows and pixels at strides
 * that may be negative (a picture stored from the bottom up, or mirrored; `pixels` is then the first sample
 * of the last row, or of a row's last pixel). Samples between `channels` and `pixel_stride`, such as alpha,
 * are neither read nor written.
 *
 * The value range says which values are far apart: an edge is a gradient of more than 1% of it. Both ends 0
 * stand for 0 and the largest number with the integer types, and for F16 and F32 for the range that 98% of a
 * grid of valid samples are in, so that pressures in pascals are filled as well as colours of 0 to 1. Filled
 * samples of the integer types stay within the range; the others may leave it.
 */
typedef struct PconvImage {
    size_t struct_size;
    void* pixels; /* the first sample of the first row; aligned to the sample type */
    int64_t width;
    int64_t height;
    int32_t channels; /* colour channels to fill, 1 to 4; a fourth is filled for itself, by its own edges */
    PconvSampleType sample_type;
    int64_t
        pixel_stride; /* samples from one pixel to the next, at least `channels` in magnitude; 0: channels */
    int64_t row_stride;     /* bytes from one row to the next, a multiple of the sample size; 0: no gaps */
    PconvTransfer transfer; /* from here on since 0.2 */
    float value_min;
    float value_max; /* greater than value_min, or both are 0 */
} PconvImage;

static inline PconvImage pconvDefaultImage(void) {
    PconvImage image = {sizeof(PconvImage),       NULL, 0,   0, 3, PCONV_SAMPLE_TYPE_U8, 0, 0,
                        PCONV_TRANSFER_AS_STORED, 0.0F, 0.0F};
    return image;
}

/* Called now and then in the calling thread with the fraction done, rising from 0 to 1; anything but 0 stops
 * the work. Must not use the image. */
typedef int (*PconvProgressCallback)(void* user, double done);

/* What the bytes of a mask between 0 and 255 mean. */
typedef enum PconvMaskLevels {
    /* Any byte but 0 is a 1. */
    PCONV_MASK_LEVELS_BINARY = 0,
    /* A soft selection: a pixel that is a hole by b/255 gets that share of the fill and keeps the rest of
     * itself. Nothing is learned from it. */
    PCONV_MASK_LEVELS_BLEND = 1,
    /* How well a pixel is known, such as its alpha: one that is a hole by b/255 is learned from by the rest,
     * and becomes a mean of itself and what is around it. */
    PCONV_MASK_LEVELS_CONFIDENCE = 2
} PconvMaskLevels;

typedef struct PconvInpaintOptions {
    size_t struct_size;
    PconvMaskPolarity polarity;     /* what a mask byte of 1, or of 255 with levels, means */
    int64_t mask_row_stride;        /* bytes, may be negative; 0: the image's width */
    PconvProgressCallback progress; /* may be NULL */
    void* user;                     /* passed to the callback */
    PconvMaskLevels mask_levels;    /* from here on since 0.2 */
} PconvInpaintOptions;

/* Mask bytes of 1 are holes, as in image editors; no gaps between the mask's rows; no callback. */
static inline PconvInpaintOptions pconvDefaultInpaintOptions(void) {
    PconvInpaintOptions options = {sizeof(PconvInpaintOptions), PCONV_MASK_HOLE_IS_ONE, 0, NULL, NULL,
                                   PCONV_MASK_LEVELS_BINARY};
    return options;
}

/*
 * Fills the holes of `image` in place and returns when it is done; every pixel that is no hole at all keeps
 * its bits. `mask` has one byte a pixel. `options` may be NULL for the defaults.
 *
 *  - A picture without a hole is left alone; one that is all hole becomes the middle of its value range (0.5
 * where that is to be found), for nothing is known of it.
 *  - What a hole's pixels held before has no influence on the result, which is the same whatever the number
 * of threads.
 *  - Valid pixels of F16 and F32 that are not finite, or farther off than a million times the value range,
 * are kept, but nothing is learned from them.
 *  - On failure, and with PCONV_ERROR_CANCELLED after the callback asked to stop, the image is untouched.
 *
 * The work lies where the holes are, and its results are to the bit those of any larger picture around them.
 * Of the device's memory it takes at most 16 MiB, whatever the picture, and of the host's about 10 to 40
 * bytes for each pixel in the holes' neighbourhood, which for a hole of n pixels across reaches about 5 n
 * far.
 */
PCONV_API PconvStatus pconvInpaint(PconvDevice device, const PconvImage* image, const uint8_t* mask,
                                   const PconvInpaintOptions* options);

/* ---- One picture after another: brush strokes, frames ----------------------------------------------------
 */

typedef struct PconvInpainter_T* PconvInpainter;

/*
 * What fills pictures on a device, and keeps its operators and its memory from one to the next: a call like
 * the one before it allocates nothing that grows with the picture, and no device memory. It has threads of
 * its own, idle between calls. Calls on one inpainter wait for each other. It keeps the device alive.
 */
PCONV_API PconvStatus pconvCreateInpainter(PconvDevice device, PconvInpainter* inpainter);
PCONV_API void pconvReleaseInpainter(PconvInpainter inpainter);

/* pconvInpaint with what is kept. */
PCONV_API PconvStatus pconvRunInpainter(PconvInpainter inpainter, const PconvImage* image,
                                        const uint8_t* mask, const PconvInpaintOptions* options);

/*
 * What the filled picture would look like at a reduced size, in a fraction of the time; `image` stays as it
 * is. `preview` is a picture of the same channels and sample type, whose width and height are those of the
 * image divided by one whole number, rounded up; what it holds is overwritten.
 */
PCONV_API PconvStatus pconvPreviewInpainter(PconvInpainter inpainter, const PconvImage* image,
                                            const uint8_t* mask, const PconvInpaintOptions* options,
                                            const PconvImage* preview);

typedef struct PconvInpaintJob_T* PconvInpaintJob;

/*
 * Begins a fill in a thread of its own and returns. Pixels and mask must stay alive and untouched until the
 * job has finished; the structs are copied. The progress callback is called in the job's thread. What the
 * call itself can check fails here, and there is no job.
 */
PCONV_API PconvStatus pconvStartInpainter(PconvInpainter inpainter, const PconvImage* image,
                                          const uint8_t* mask, const PconvInpaintOptions* options,
                                          PconvInpaintJob* job);

/* The fraction done, and whether the job has finished, well or not. Either pointer may be NULL. */
PCONV_API PconvStatus pconvGetInpaintProgress(PconvInpaintJob job, double* done, int32_t* finished);

/* Asks the job to stop, and does not wait. A job that is about done may still succeed. */
PCONV_API PconvStatus pconvCancelInpaint(PconvInpaintJob job);

/* Returns when the job has finished, with its outcome: PCONV_ERROR_CANCELLED where it was stopped, and the
 * image is untouched. May be called again. */
PCONV_API PconvStatus pconvWaitInpaint(PconvInpaintJob job);

/* Stops the job where it has not finished, and waits for that. */
PCONV_API void pconvReleaseInpaintJob(PconvInpaintJob job);

#ifdef __cplusplus
}
#endif

#endif /* PCONV_INPAINT_H */
