#define PCONV_PASSES passesAvx512
#include "cpu/passes/kernels.h"
