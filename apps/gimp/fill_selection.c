#include "fill_selection.h"

#include "../gegl/fill_rgba.h"

/*
 * The part of the layer that the fill depends on: about five times the hole's size around it, from where the
 * cells of a fill of the whole layer would begin. Networks see a tile of 512 pixels.
 */
static GeglRectangle neighbourhood(const GeglRectangle* hole, const GeglRectangle* layer,
                                   gboolean by_network) {
    const gint64 size = MAX(hole->width, hole->height);
    const gint64 margin = 6 * size + (by_network ? 512 : 128);
    gint64 step = 128;
    while (step < size) step *= 2;
    const gint64 left = MAX(hole->x - margin, 0) / step * step;
    const gint64 top = MAX(hole->y - margin, 0) / step * step;
    const gint64 right = MIN(hole->x + hole->width + margin, (gint64)layer->width);
    const gint64 bottom = MIN(hole->y + hole->height + margin, (gint64)layer->height);
    return *GEGL_RECTANGLE((gint)left, (gint)top, (gint)(right - left), (gint)(bottom - top));
}

static gchar* run(const PconvFill* fill, const GeglRectangle* box, gfloat* rgba, guint8* mask) {
    const Babl* format = babl_format_with_space("R'G'B'A float", fill->space);
    const gsize pixels = (gsize)box->width * (gsize)box->height;
    const gboolean by_selection = fill->selection != NULL;
    PconvFiller filler = {0};
    gchar* fault = NULL;
    gboolean any = FALSE, all = TRUE;
    gegl_buffer_get(fill->layer, box, 1.0, format, rgba, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
    if (by_selection) {
        const GeglRectangle selected = {box->x + fill->offset_x, box->y + fill->offset_y, box->width,
                                        box->height};
        gegl_buffer_get(fill->selection, &selected, 1.0, babl_format("Y u8"), mask, GEGL_AUTO_ROWSTRIDE,
                        GEGL_ABYSS_NONE);
    }
    for (gsize i = 0; i < pixels; ++i) {
        /* GIMP itself mixes by the selection what it takes of the shadow. */
        if (by_selection) mask[i] = mask[i] != 0 ? 255 : 0;
        const gboolean hole = by_selection ? mask[i] != 0 : rgba[4 * i + 3] < 1.0F;
        const gboolean nothing = hole && (by_selection || rgba[4 * i + 3] <= 0.0F);
        any = any || hole;
        all = all && nothing;
    }
    if (!any)
        return g_strdup(by_selection ? "the selection does not touch the layer"
                                     : "nothing is selected, and nothing in the layer is transparent");
    if (all)
        return g_strdup("all of the layer is to be filled; expected some of it to be kept, to fill from");
    if (pconvOpenFiller(fill->device, fill->model, &filler) != PCONV_SUCCESS ||
        pconvFillRgba(&filler, rgba, box->width, box->height, by_selection ? mask : NULL, fill->progress,
                      fill->user) != PCONV_SUCCESS)
        fault = g_strdup(pconvGetLastError());
    else
        gegl_buffer_set(fill->shadow, box, 0, format, rgba, GEGL_AUTO_ROWSTRIDE);
    pconvCloseFiller(&filler);
    return fault;
}

gchar* pconvFillSelection(const PconvFill* fill, GeglRectangle* written) {
    const GeglRectangle* layer = gegl_buffer_get_extent(fill->layer);
    const GeglRectangle box =
        neighbourhood(&fill->bounds, layer, fill->model != NULL && *fill->model != '\0');
    const gsize pixels = (gsize)box.width * (gsize)box.height;
    gfloat* rgba = g_try_new(gfloat, 4 * pixels);
    guint8* mask = g_try_new(guint8, pixels);
    gchar* fault = rgba == NULL || mask == NULL
                       ? g_strdup_printf("there is no memory for %d x %d pixels", box.width, box.height)
                       : run(fill, &box, rgba, mask);
    g_free(mask);
    g_free(rgba);
    *written = fill->bounds;
    return fault;
}
