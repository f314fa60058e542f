#define PCONV_PASSES passesBaseline
#include "cpu_pass_kernels.h"
