/* What the user of GIMP 2.10 chooses a fill by. */
#ifndef PCONV_APPS_GIMP2_DIALOG_H
#define PCONV_APPS_GIMP2_DIALOG_H

#include "choice.h"

/* Shows the choice in a window and takes what is chosen there; FALSE where that was cancelled. */
gboolean pconvAskForChoice(PconvChoice* choice);

#endif
