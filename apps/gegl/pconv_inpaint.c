/*
 * pconv:inpaint, an operation of GEGL: fills the holes of a picture. The hole is what `aux` shows in white,
 * or without aux what is transparent. gegl-op.h includes this file several times over.
 */
#define _(text) (text)

#ifdef GEGL_PROPERTIES

property_string(device, _("Device"), "cpu")
    description(_("What to compute on: cpu, vulkan, cuda, or part of a device's name"))

        property_file_path(model, _("Model file"), "") description(
            _("A trained network, as pconv model import writes it; none: filled smoothly, without a network"))

#else

#define GEGL_OP_COMPOSER
#define GEGL_OP_NAME pconv_inpaint
#define GEGL_OP_C_SOURCE pconv_inpaint.c

#include "gegl-op.h"

#include "fill_rgba.h"

static const Babl* formatOf(GeglOperation* operation, const char* pad) {
    const Babl* source = gegl_operation_get_source_format(operation, pad);
    return babl_format_with_space("R'G'B'A float", source != NULL ? babl_format_get_space(source) : NULL);
}

static void prepare(GeglOperation* operation) {
    gegl_operation_set_format(operation, "input", formatOf(operation, "input"));
    gegl_operation_set_format(operation, "aux", babl_format("Y'A float"));
    gegl_operation_set_format(operation, "output", formatOf(operation, "input"));
}

/* Every pixel may depend on every other. */
static GeglRectangle wholeOf(GeglOperation* operation, const GeglRectangle* otherwise) {
    const GeglRectangle* box = gegl_operation_source_get_bounding_box(operation, "input");
    return box != NULL && !gegl_rectangle_is_infinite_plane(box) ? *box : *otherwise;
}

static GeglRectangle get_required_for_output(GeglOperation* operation, const gchar* pad,
                                             const GeglRectangle* roi) {
    (void)pad;
    return wholeOf(operation, roi);
}

static GeglRectangle get_cached_region(GeglOperation* operation, const GeglRectangle* roi) {
    return wholeOf(operation, roi);
}

static GeglRectangle get_bounding_box(GeglOperation* operation) {
    const GeglRectangle none = {0, 0, 0, 0};
    const GeglRectangle* box = gegl_operation_source_get_bounding_box(operation, "input");
    return box != NULL ? *box : none;
}

/* The mask of what is white and seen in aux. */
static guint8* readMask(GeglBuffer* aux, const GeglRectangle* box) {
    const gsize pixels = (gsize)box->width * (gsize)box->height;
    gfloat* samples = g_try_new(gfloat, 2 * pixels);
    guint8* mask = samples != NULL ? g_try_new(guint8, pixels) : NULL;
    if (mask != NULL) {
        gegl_buffer_get(aux, box, 1.0, babl_format("Y'A float"), samples, GEGL_AUTO_ROWSTRIDE,
                        GEGL_ABYSS_NONE);
        for (gsize i = 0; i < pixels; ++i) {
            const gfloat white = CLAMP(samples[2 * i] * samples[2 * i + 1], 0.0F, 1.0F);
            mask[i] = (guint8)(white * 255.0F + 0.5F);
        }
    }
    g_free(samples);
    return mask;
}

static gboolean process(GeglOperation* operation, GeglBuffer* input, GeglBuffer* aux, GeglBuffer* output,
                        const GeglRectangle* result, gint level) {
    const GeglProperties* properties = GEGL_PROPERTIES(operation);
    const Babl* format = formatOf(operation, "input");
    const GeglRectangle box = wholeOf(operation, result);
    const gsize pixels = (gsize)box.width * (gsize)box.height;
    gfloat* rgba = NULL;
    guint8* mask = NULL;
    PconvFiller filler = {0};
    gboolean done = FALSE;
    (void)level;
    if (input == NULL || pixels == 0) return TRUE;
    rgba = g_try_new(gfloat, 4 * pixels);
    if (aux != NULL && rgba != NULL) mask = readMask(aux, &box);
    if (rgba == NULL || (aux != NULL && mask == NULL)) {
        g_warning("pconv:inpaint: there is no memory for %d x %d pixels; the picture is passed on as it is",
                  box.width, box.height);
    } else {
        gegl_buffer_get(input, &box, 1.0, format, rgba, GEGL_AUTO_ROWSTRIDE, GEGL_ABYSS_NONE);
        if (pconvOpenFiller(properties->device, properties->model, &filler) == PCONV_SUCCESS &&
            pconvFillRgba(&filler, rgba, box.width, box.height, mask, NULL, NULL) == PCONV_SUCCESS) {
            gegl_buffer_set(output, &box, 0, format, rgba, GEGL_AUTO_ROWSTRIDE);
            done = TRUE;
        } else {
            g_warning("pconv:inpaint: %s; the picture is passed on as it is", pconvGetLastError());
        }
    }
    if (!done) gegl_buffer_copy(input, &box, GEGL_ABYSS_NONE, output, &box);
    pconvCloseFiller(&filler);
    g_free(mask);
    g_free(rgba);
    return TRUE;
}

static void gegl_op_class_init(GeglOpClass* klass) {
    GeglOperationClass* operation_class = GEGL_OPERATION_CLASS(klass);
    GeglOperationComposerClass* composer_class = GEGL_OPERATION_COMPOSER_CLASS(klass);
    operation_class->prepare = prepare;
    operation_class->get_bounding_box = get_bounding_box;
    operation_class->get_required_for_output = get_required_for_output;
    operation_class->get_cached_region = get_cached_region;
    operation_class->threaded = FALSE;
    composer_class->process = process;
    gegl_operation_class_set_keys(
        operation_class, "name", "pconv:inpaint", "title", _("Fill holes (pconv)"), "categories", "heal",
        "description",
        _("Fills the transparent parts of a picture, or what aux shows in white, from what is around them"),
        NULL);
}

#endif
