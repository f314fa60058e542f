/* "Fill selection (pconv)" for GIMP 2.10. */
#include <libgimp/gimp.h>
#include <string.h>

#include "fill_selection.h"
#include "gimp2_dialog.h"

#define PROCEDURE "plug-in-pconv-fill-selection"
#define ASKING_PROCEDURE "plug-in-pconv-fill-selection-by"

static void query(void) {
    static const GimpParamDef args[] = {
        {GIMP_PDB_INT32, "run-mode", "The run mode { RUN-INTERACTIVE (0), RUN-NONINTERACTIVE (1) }"},
        {GIMP_PDB_IMAGE, "image", "Input image"},
        {GIMP_PDB_DRAWABLE, "drawable", "Layer to fill"},
        {GIMP_PDB_STRING, "device", "What to compute on: cpu, vulkan, cuda, part of a name; empty: cpu"},
        {GIMP_PDB_STRING, "model", "File of a trained network, as pconv model import writes it; empty: none"},
    };
    static const char* const about =
        "Fills the selection, or without one what is transparent, by partial convolutions: smoothly, for "
        "scratches, dust, wires and objects before a plain ground; or by a trained network.";
    gimp_install_procedure(PROCEDURE, "Fills what is selected from what is around it", about,
                           "The pconv developers", "The pconv developers", "2026", "Fill selection (pconv)",
                           "RGB*, GRAY*, INDEXED*", GIMP_PLUGIN, G_N_ELEMENTS(args), 0, args, NULL);
    gimp_plugin_menu_register(PROCEDURE, "<Image>/Filters/Enhance");
    gimp_install_procedure(ASKING_PROCEDURE, "Asks for device and network, and fills what is selected", about,
                           "The pconv developers", "The pconv developers", "2026",
                           "Fill selection by... (pconv)", "RGB*, GRAY*, INDEXED*", GIMP_PLUGIN,
                           G_N_ELEMENTS(args), 0, args, NULL);
    gimp_plugin_menu_register(ASKING_PROCEDURE, "<Image>/Filters/Enhance");
}

static int onProgress(void* user, double done) {
    (void)user;
    gimp_progress_update(done);
    return 0;
}

/* NULL, or why this is nothing to fill. */
static const gchar* unsuitable(gint32 image, gint32 drawable) {
    if (!gimp_item_is_valid(drawable) || !gimp_item_is_layer(drawable))
        return "this is no layer; expected one with pixels";
    if (gimp_item_is_group(drawable)) return "this is a group of layers; choose one of its layers";
    if (gimp_item_is_text_layer(drawable))
        return "this is a text layer, which is drawn anew from its text; turn it into a plain one first";
    if (gimp_item_get_lock_content(drawable)) return "the layer's pixels are locked; unlock them first";
    if (gimp_image_base_type(image) == GIMP_INDEXED)
        return "the image is indexed, and a fill needs colours that its palette lacks; convert it to RGB "
               "first";
    return NULL;
}

static gchar* fillDrawable(gint32 image, gint32 drawable, const PconvChoice* choice) {
    PconvFill fill = {0};
    GeglRectangle written;
    gint x1, y1, x2, y2;
    gboolean selected;
    gchar* fault;
    const gchar* reason = unsuitable(image, drawable);
    if (reason != NULL) return g_strdup(reason);
    selected = !gimp_selection_is_empty(image);
    gimp_drawable_mask_bounds(drawable, &x1, &y1, &x2, &y2);
    if (x2 <= x1 || y2 <= y1) return g_strdup("the selection does not touch the layer");
    if (!selected && !gimp_drawable_has_alpha(drawable))
        return g_strdup("nothing is selected, and the layer has no transparency; select what to fill");
    gegl_init(NULL, NULL);
    fill.layer = gimp_drawable_get_buffer(drawable);
    fill.shadow = gimp_drawable_get_shadow_buffer(drawable);
    fill.space = babl_format_get_space(gimp_drawable_get_format(drawable));
    fill.bounds = *GEGL_RECTANGLE(x1, y1, x2 - x1, y2 - y1);
    if (selected) fill.selection = gimp_drawable_get_buffer(gimp_image_get_selection(image));
    gimp_drawable_offsets(drawable, &fill.offset_x, &fill.offset_y);
    fill.device = choice->device;
    fill.model = choice->model;
    fill.progress = onProgress;
    fault = pconvFillSelection(&fill, &written);
    g_object_unref(fill.layer);
    g_object_unref(fill.shadow);
    if (fill.selection != NULL) g_object_unref(fill.selection);
    if (fault != NULL) return fault;
    /* One step: what is undone is all of it, and whoever ends the plug-in before finds nothing changed. */
    gimp_drawable_merge_shadow(drawable, TRUE);
    gimp_drawable_update(drawable, written.x, written.y, written.width, written.height);
    return NULL;
}

static void run(const gchar* name, gint count, const GimpParam* params, gint* result_count,
                GimpParam** results) {
    static GimpParam result[2];
    const GimpRunMode mode = (GimpRunMode)params[0].data.d_int32;
    PconvChoice choice = {"", ""};
    gchar* fault = NULL;
    *result_count = 1;
    *results = result;
    result[0].type = GIMP_PDB_STATUS;
    result[0].data.d_status = GIMP_PDB_SUCCESS;
    if (mode != GIMP_RUN_NONINTERACTIVE)
        choice = pconvLastChoice();
    else if (count < 5 || !pconvSetChoice(&choice, params[3].data.d_string, params[4].data.d_string))
        fault = g_strdup(
            "device and model are not what is expected: a text of less than 256 and one of less "
            "than 4096 bytes");
    if (mode == GIMP_RUN_INTERACTIVE && strcmp(name, ASKING_PROCEDURE) == 0) {
        if (!pconvAskForChoice(&choice)) {
            result[0].data.d_status = GIMP_PDB_CANCEL;
            return;
        }
        pconvKeepChoice(&choice);
    }
    if (fault == NULL) {
        gimp_progress_init("Filling");
        fault = fillDrawable(params[1].data.d_image, params[2].data.d_drawable, &choice);
    }
    if (fault == NULL) {
        if (mode != GIMP_RUN_NONINTERACTIVE) gimp_displays_flush();
        return;
    }
    *result_count = 2;
    result[0].data.d_status = GIMP_PDB_EXECUTION_ERROR;
    result[1].type = GIMP_PDB_STRING;
    result[1].data.d_string = g_strdup_printf("Fill selection (pconv): %s.", fault);
    g_free(fault);
}

const GimpPlugInInfo PLUG_IN_INFO = {NULL, NULL, query, run};

MAIN()
