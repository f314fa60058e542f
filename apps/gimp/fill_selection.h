/* The work of the GIMP plug-in, on GEGL's buffers: what is the same for every version of GIMP. */
#ifndef PCONV_APPS_FILL_SELECTION_H
#define PCONV_APPS_FILL_SELECTION_H

#include <gegl.h>

#include "pconv/inpaint.h"

typedef struct PconvFill {
    GeglBuffer* layer;       /* read, at its own coordinates */
    GeglBuffer* shadow;      /* what is filled is written here */
    const Babl* space;       /* of the layer's format */
    GeglBuffer* selection;   /* NULL: what is transparent is filled */
    GeglRectangle bounds;    /* of what is selected, in the layer */
    gint offset_x, offset_y; /* of the layer in the selection */
    const gchar* device;     /* NULL or "": the CPU */
    const gchar* model;      /* NULL or "": without a network */
    PconvProgressCallback progress;
    gpointer user;
} PconvFill;

/* NULL, or what is at fault, to be freed; then the shadow may be thrown away. `written` is what changed. */
gchar* pconvFillSelection(const PconvFill* fill, GeglRectangle* written);

#endif
