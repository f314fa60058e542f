/* What a fill was last chosen to be done by, in this session of GIMP or one before; for every version. */
#ifndef PCONV_APPS_CHOICE_H
#define PCONV_APPS_CHOICE_H

#include <glib.h>

typedef struct PconvChoice {
    gchar device[256]; /* "": the CPU */
    gchar model[4096]; /* file of a trained network; "": none */
} PconvChoice;

PconvChoice pconvLastChoice(void);
void pconvKeepChoice(const PconvChoice* choice);

/* FALSE where a text (NULL: "") is too long. */
gboolean pconvSetChoice(PconvChoice* choice, const gchar* device, const gchar* model);

#endif
