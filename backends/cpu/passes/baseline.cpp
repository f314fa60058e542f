#define PCONV_PASSES passesBaseline
#include "cpu/passes/kernels.h"
