#include "choice.h"

#include <libgimp/gimp.h>
#include <string.h>

#define NAME "plug-in-pconv-fill-selection"

PconvChoice pconvLastChoice(void) {
    PconvChoice choice = {"", ""};
    GimpParasite* kept = gimp_get_parasite(NAME);
    if (kept != NULL) {
        if (kept->size == sizeof choice) {
            memcpy(&choice, kept->data, sizeof choice);
            choice.device[sizeof choice.device - 1] = choice.model[sizeof choice.model - 1] = '\0';
        }
        gimp_parasite_free(kept);
    }
    return choice;
}

void pconvKeepChoice(const PconvChoice* choice) {
    GimpParasite* kept = gimp_parasite_new(NAME, GIMP_PARASITE_PERSISTENT, sizeof *choice, choice);
    gimp_attach_parasite(kept);
    gimp_parasite_free(kept);
}

gboolean pconvSetChoice(PconvChoice* choice, const gchar* device, const gchar* model) {
    return g_strlcpy(choice->device, device != NULL ? device : "", sizeof choice->device) <
               sizeof choice->device &&
           g_strlcpy(choice->model, model != NULL ? model : "", sizeof choice->model) < sizeof choice->model;
}
