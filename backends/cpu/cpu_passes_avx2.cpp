#define PCONV_PASSES passesAvx2
#include "cpu_pass_kernels.h"
