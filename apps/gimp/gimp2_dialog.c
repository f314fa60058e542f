#include "gimp2_dialog.h"

#include <libgimp/gimp.h>
#include <libgimp/gimpui.h>
#include <string.h>

#include "pconv/pconv.h"

#define ROLE "pconv-fill-selection"

/* An entry with the backends that have a device here; part of a name can be written there too. */
static GtkWidget* deviceEntry(const gchar* chosen) {
    GtkWidget* entry = gtk_combo_box_text_new_with_entry();
    gchar last[sizeof((PconvDeviceInfo*)NULL)->backend] = "";
    int32_t count = 0, i;
    if (pconvGetDeviceCount(&count) != PCONV_SUCCESS) count = 0;
    for (i = 0; i < count; ++i) {
        PconvDeviceInfo info = pconvDefaultDeviceInfo();
        if (pconvGetDeviceInfo(i, &info) != PCONV_SUCCESS || strcmp(info.backend, last) == 0) continue;
        gtk_combo_box_text_append_text(GTK_COMBO_BOX_TEXT(entry), info.backend);
        g_strlcpy(last, info.backend, sizeof last);
    }
    gtk_entry_set_text(GTK_ENTRY(gtk_bin_get_child(GTK_BIN(entry))), *chosen != '\0' ? chosen : "cpu");
    return entry;
}

static GtkWidget* modelButton(const gchar* chosen) {
    GtkWidget* button = gtk_file_chooser_button_new("Trained network", GTK_FILE_CHOOSER_ACTION_OPEN);
    GtkFileFilter* models = gtk_file_filter_new();
    gtk_file_filter_set_name(models, "Models (*.safetensors)");
    gtk_file_filter_add_pattern(models, "*.safetensors");
    gtk_file_chooser_add_filter(GTK_FILE_CHOOSER(button), models);
    if (*chosen != '\0') gtk_file_chooser_set_filename(GTK_FILE_CHOOSER(button), chosen);
    return button;
}

gboolean pconvAskForChoice(PconvChoice* choice) {
    GtkWidget *dialog, *table, *device, *by_network, *model;
    gboolean chosen;
    gimp_ui_init(ROLE, FALSE);
    dialog = gimp_dialog_new("Fill selection (pconv)", ROLE, NULL, (GtkDialogFlags)0, NULL, NULL,
                             GTK_STOCK_CANCEL, GTK_RESPONSE_CANCEL, "_Fill", GTK_RESPONSE_OK, NULL);
    gtk_dialog_set_default_response(GTK_DIALOG(dialog), GTK_RESPONSE_OK);
    table = gtk_table_new(2, 2, FALSE);
    gtk_container_set_border_width(GTK_CONTAINER(table), 12);
    gtk_table_set_row_spacings(GTK_TABLE(table), 6);
    gtk_table_set_col_spacings(GTK_TABLE(table), 6);
    gtk_box_pack_start(GTK_BOX(gtk_dialog_get_content_area(GTK_DIALOG(dialog))), table, TRUE, TRUE, 0);

    device = deviceEntry(choice->device);
    gtk_table_attach_defaults(GTK_TABLE(table), gtk_label_new("Device"), 0, 1, 0, 1);
    gtk_table_attach_defaults(GTK_TABLE(table), device, 1, 2, 0, 1);
    by_network = gtk_check_button_new_with_mnemonic("By a trained _network");
    gtk_toggle_button_set_active(GTK_TOGGLE_BUTTON(by_network), *choice->model != '\0');
    model = modelButton(choice->model);
    g_object_bind_property(by_network, "active", model, "sensitive", G_BINDING_SYNC_CREATE);
    gtk_table_attach_defaults(GTK_TABLE(table), by_network, 0, 1, 1, 2);
    gtk_table_attach_defaults(GTK_TABLE(table), model, 1, 2, 1, 2);
    gtk_widget_show_all(dialog);

    chosen = gimp_dialog_run(GIMP_DIALOG(dialog)) == GTK_RESPONSE_OK;
    if (chosen) {
        gchar* name = gtk_combo_box_text_get_active_text(GTK_COMBO_BOX_TEXT(device));
        gchar* path = gtk_file_chooser_get_filename(GTK_FILE_CHOOSER(model));
        const gboolean with_model = gtk_toggle_button_get_active(GTK_TOGGLE_BUTTON(by_network));
        chosen = pconvSetChoice(choice, name, with_model ? path : NULL);
        g_free(path);
        g_free(name);
    }
    gtk_widget_destroy(dialog);
    return chosen;
}
