#define PCONV_PASSES passesAvx512
#include "cpu_pass_kernels.h"
