/* "Fill selection (pconv)" for GIMP 3. */
#include <libgimp/gimp.h>
#include <libgimp/gimpui.h>

#include "choice.h"
#include "fill_selection.h"

#define PROCEDURE "plug-in-pconv-fill-selection"
#define ASKING_PROCEDURE "plug-in-pconv-fill-selection-by"

typedef struct _Pconv {
    GimpPlugIn parent;
} Pconv;
typedef struct _PconvClass {
    GimpPlugInClass parent;
} PconvClass;

static GType pconv_get_type(void);
G_DEFINE_TYPE(Pconv, pconv, GIMP_TYPE_PLUG_IN)

static int onProgress(void* user, double done) {
    (void)user;
    gimp_progress_update(done);
    return 0;
}

/* NULL, or why this is nothing to fill. */
static const gchar* unsuitable(GimpImage* image, GimpDrawable* drawable) {
    if (!GIMP_IS_LAYER(drawable)) return "this is no layer; expected one with pixels";
    if (gimp_item_is_group(GIMP_ITEM(drawable))) return "this is a group of layers; choose one of its layers";
    if (gimp_item_is_text_layer(GIMP_ITEM(drawable)))
        return "this is a text layer, which is drawn anew from its text; turn it into a plain one first";
    if (gimp_item_get_lock_content(GIMP_ITEM(drawable)))
        return "the layer's pixels are locked; unlock them first";
    if (gimp_image_get_base_type(image) == GIMP_INDEXED)
        return "the image is indexed, and a fill needs colours that its palette lacks; convert it to RGB "
               "first";
    return NULL;
}

static gchar* fillDrawable(GimpImage* image, GimpDrawable* drawable, const PconvChoice* choice) {
    PconvFill fill = {0};
    GeglRectangle written;
    gint x, y, width, height;
    gboolean selected, touches;
    gchar* fault;
    const gchar* reason = unsuitable(image, drawable);
    if (reason != NULL) return g_strdup(reason);
    selected = !gimp_selection_is_empty(image);
    touches = gimp_drawable_mask_intersect(drawable, &x, &y, &width, &height);
    if (!touches || width <= 0 || height <= 0) return g_strdup("the selection does not touch the layer");
    if (!selected && !gimp_drawable_has_alpha(drawable))
        return g_strdup("nothing is selected, and the layer has no transparency; select what to fill");
    gegl_init(NULL, NULL);
    fill.layer = gimp_drawable_get_buffer(drawable);
    fill.shadow = gimp_drawable_get_shadow_buffer(drawable);
    fill.space = babl_format_get_space(gimp_drawable_get_format(drawable));
    fill.bounds = *GEGL_RECTANGLE(x, y, width, height);
    if (selected) fill.selection = gimp_drawable_get_buffer(GIMP_DRAWABLE(gimp_image_get_selection(image)));
    gimp_drawable_get_offsets(drawable, &fill.offset_x, &fill.offset_y);
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

static gboolean readChoice(GimpProcedureConfig* config, PconvChoice* choice) {
    gchar* device = NULL;
    GFile* model = NULL;
    gchar* path = NULL;
    gboolean fits;
    g_object_get(config, "device", &device, "model", &model, NULL);
    if (model != NULL) path = g_file_get_path(model);
    fits = pconvSetChoice(choice, device, path);
    g_free(path);
    g_free(device);
    if (model != NULL) g_object_unref(model);
    return fits;
}

/* FALSE where the window was cancelled. */
static gboolean ask(GimpProcedure* procedure, GimpProcedureConfig* config, const PconvChoice* last) {
    GFile* model = *last->model != '\0' ? g_file_new_for_path(last->model) : NULL;
    GtkWidget* dialog;
    gboolean chosen;
    g_object_set(config, "device", *last->device != '\0' ? last->device : "cpu", "model", model, NULL);
    gimp_ui_init("pconv-fill-selection");
    dialog = gimp_procedure_dialog_new(procedure, config, "Fill selection (pconv)");
    gimp_procedure_dialog_set_ok_label(GIMP_PROCEDURE_DIALOG(dialog), "_Fill");
    gimp_procedure_dialog_fill(GIMP_PROCEDURE_DIALOG(dialog), "device", "model", NULL);
    chosen = gimp_procedure_dialog_run(GIMP_PROCEDURE_DIALOG(dialog));
    gtk_widget_destroy(dialog);
    if (model != NULL) g_object_unref(model);
    return chosen;
}

static GimpValueArray* run(GimpProcedure* procedure, GimpRunMode mode, GimpImage* image,
                           GimpDrawable** drawables, GimpProcedureConfig* config, gpointer user) {
    const gboolean asking = user != NULL && mode == GIMP_RUN_INTERACTIVE;
    PconvChoice choice = pconvLastChoice();
    gchar* fault = NULL;
    GError* error;
    if (asking && !ask(procedure, config, &choice))
        return gimp_procedure_new_return_values(procedure, GIMP_PDB_CANCEL, NULL);
    if ((asking || mode == GIMP_RUN_NONINTERACTIVE) && !readChoice(config, &choice))
        fault = g_strdup(
            "device and model are not what is expected: a text of less than 256 and a path of less "
            "than 4096 bytes");
    else if (drawables == NULL || drawables[0] == NULL || drawables[1] != NULL)
        fault = g_strdup("there are several layers or none; expected one");
    else {
        if (asking) pconvKeepChoice(&choice);
        gimp_progress_init("Filling");
        fault = fillDrawable(image, drawables[0], &choice);
    }
    if (fault == NULL) {
        if (mode != GIMP_RUN_NONINTERACTIVE) gimp_displays_flush();
        return gimp_procedure_new_return_values(procedure, GIMP_PDB_SUCCESS, NULL);
    }
    error = g_error_new(GIMP_PLUG_IN_ERROR, 0, "Fill selection (pconv): %s.", fault);
    g_free(fault);
    return gimp_procedure_new_return_values(procedure, GIMP_PDB_EXECUTION_ERROR, error);
}

static GList* pconv_query_procedures(GimpPlugIn* plug_in) {
    (void)plug_in;
    return g_list_append(g_list_append(NULL, g_strdup(PROCEDURE)), g_strdup(ASKING_PROCEDURE));
}

static GimpProcedure* pconv_create_procedure(GimpPlugIn* plug_in, const gchar* name) {
    const gboolean asks = g_strcmp0(name, ASKING_PROCEDURE) == 0;
    GimpProcedure* procedure = gimp_image_procedure_new(plug_in, name, GIMP_PDB_PROC_TYPE_PLUGIN, run,
                                                        asks ? GINT_TO_POINTER(1) : NULL, NULL);
    gimp_procedure_set_image_types(procedure, "*");
    gimp_procedure_set_sensitivity_mask(procedure, GIMP_PROCEDURE_SENSITIVE_DRAWABLE);
    gimp_procedure_set_menu_label(procedure,
                                  asks ? "Fill selection by... (pconv)" : "Fill selection (pconv)");
    gimp_procedure_add_menu_path(procedure, "<Image>/Filters/Enhance");
    gimp_procedure_set_documentation(
        procedure,
        asks ? "Asks for device and network, and fills what is selected"
             : "Fills what is selected from what is around it",
        "Fills the selection, or without one what is transparent, by partial convolutions: smoothly, for "
        "scratches, dust, wires and objects before a plain ground; or by a trained network.",
        name);
    gimp_procedure_set_attribution(procedure, "The pconv developers", "The pconv developers", "2026");
    gimp_procedure_add_string_argument(procedure, "device", "_Device",
                                       "What to compute on: cpu, vulkan, cuda, or part of a name", "cpu",
                                       G_PARAM_READWRITE);
    gimp_procedure_add_file_argument(
        procedure, "model", "Trained _network",
        "File of a trained network, as pconv model import writes it; none: smoothly",
        GIMP_FILE_CHOOSER_ACTION_OPEN, TRUE, NULL, G_PARAM_READWRITE);
    return procedure;
}

/* There are no translations. */
static gboolean pconv_set_i18n(GimpPlugIn* plug_in, const gchar* procedure, gchar** domain, gchar** folder) {
    (void)plug_in;
    (void)procedure;
    (void)domain;
    (void)folder;
    return FALSE;
}

static void pconv_class_init(PconvClass* klass) {
    GimpPlugInClass* plug_in = GIMP_PLUG_IN_CLASS(klass);
    plug_in->query_procedures = pconv_query_procedures;
    plug_in->create_procedure = pconv_create_procedure;
    plug_in->set_i18n = pconv_set_i18n;
}

static void pconv_init(Pconv* self) {
    (void)self;
}

GIMP_MAIN(pconv_get_type())
