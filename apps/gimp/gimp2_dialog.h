/* What the user of GIMP 2.10 chooses a fill by. */
#ifndef PCONV_APPS_GIMP2_DIALOG_H
#define PCONV_APPS_GIMP2_DIALOG_H

#include <glib.h>

typedef struct PconvChoice {
    gchar device[256]; /* "": the CPU */
    gchar model[4096]; /* file of a trained network; "": none */
} PconvChoice;

/* Shows the choice in a window and takes what is chosen there; FALSE where that was cancelled. */
gboolean pconvAskForChoice(PconvChoice* choice);

#endif
