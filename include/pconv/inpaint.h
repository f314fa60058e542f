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
    PCONV_SAMPLE_TYPE_F32 = 2  /* nominally 0 to 1, but neither end is enforced */
} PconvSampleType;

/*
 * A picture in the caller's memory: rows from the top, the channels of a pixel next to each other. Samples
 * between `channels` and `pixel_stride`, such as alpha, are neither read nor written.
 */
typedef struct PconvImage {
    size_t struct_size;
    void* pixels; /* aligned to the sample type */
    int64_t width;
    int64_t height;
    int32_t channels; /* colour channels to fill, 1 to 3 */
    PconvSampleType sample_type;
    int64_t pixel_stride; /* samples from one pixel to the next, at least `channels`; 0: channels */
    int64_t row_stride;   /* bytes from one row to the next, a multiple of the sample size; 0: no gaps */
} PconvImage;

static inline PconvImage pconvDefaultImage(void) {
    PconvImage image = {sizeof(PconvImage), NULL, 0, 0, 3, PCONV_SAMPLE_TYPE_U8, 0, 0};
    return image;
}

/* Called now and then in the calling thread with the fraction done, rising from 0 to 1; anything but 0 stops
 * the work. Must not use the image. */
typedef int (*PconvProgressCallback)(void* user, double done);

typedef struct PconvInpaintOptions {
    size_t struct_size;
    PconvMaskPolarity polarity;     /* what a mask byte of 1 means; any byte but 0 is a 1 */
    int64_t mask_row_stride;        /* bytes; 0: the image's width */
    PconvProgressCallback progress; /* may be NULL */
    void* user;                     /* passed to the callback */
} PconvInpaintOptions;

/* Mask bytes of 1 are holes, as in image editors; no gaps between the mask's rows; no callback. */
static inline PconvInpaintOptions pconvDefaultInpaintOptions(void) {
    PconvInpaintOptions options = {sizeof(PconvInpaintOptions), PCONV_MASK_HOLE_IS_ONE, 0, NULL, NULL};
    return options;
}

/*
 * Fills the holes of `image` in place and returns when it is done; every valid pixel keeps its bits. `mask`
 * has one byte a pixel. `options` may be NULL for the defaults.
 *
 *  - A picture without a hole is left alone; one that is all hole becomes middle gray, for nothing is known
 * of it.
 *  - What a hole's pixels held before has no influence on the result, which is the same whatever the number
 * of threads.
 *  - Valid F32 pixels that are not finite or exceed 65504 in magnitude are kept, but nothing is learned from
 * them.
 *  - On failure, and with PCONV_ERROR_CANCELLED after the callback asked to stop, the image is untouched.
 *
 * Needs about 30 bytes of memory for each pixel and 50 more for each pixel of a hole; a GPU needs the former
 * too.
 */
PCONV_API PconvStatus pconvInpaint(PconvDevice device, const PconvImage* image, const uint8_t* mask,
                                   const PconvInpaintOptions* options);

#ifdef __cplusplus
}
#endif

#endif /* PCONV_INPAINT_H */
