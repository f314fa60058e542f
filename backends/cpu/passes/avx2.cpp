#define PCONV_PASSES passesAvx2
#include "cpu/passes/kernels.h"
