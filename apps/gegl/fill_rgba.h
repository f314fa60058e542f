/* Filling the holes of a picture as editors have it: four floats a pixel, alpha not multiplied in. */
#ifndef PCONV_APPS_FILL_RGBA_H
#define PCONV_APPS_FILL_RGBA_H

#include <stdint.h>

#include "pconv/models.h"

/* What fills: the method without weights, or with a network for the colours. */
typedef struct PconvFiller {
    PconvDevice device;
    PconvInpainter inpainter;
    PconvModel model; /* NULL, as the next, without a network */
    PconvNetwork network;
} PconvFiller;

/* On this device (NULL or "": the CPU), with the network of a model file (NULL or "": none). On failure the
 * filler is as if closed, and pconvGetLastError() says why. */
PconvStatus pconvOpenFiller(const char* device, const char* model, PconvFiller* filler);
void pconvCloseFiller(PconvFiller* filler);

/*
 * With a mask (a byte a pixel, 255 where there is all hole), its holes are filled, alpha too where the
 * picture has transparency, by the share that the mask gives; nothing is learned from the colours of what is
 * wholly transparent. Without one the transparency is the hole: what is nearly transparent is hardly known,
 * and the result is opaque. The colours are of 0 to 1 as displays have them. On failure `rgba` is as it was,
 * and pconvGetLastError() says why.
 */
PconvStatus pconvFillRgba(const PconvFiller* filler, float* rgba, int64_t width, int64_t height,
                          const uint8_t* mask, PconvProgressCallback progress, void* user);

#endif
