#include "cpu/passes/passes.h"

namespace pconv::cpu {

const Passes& passes() {
    static const Passes& best = []() -> const Passes& {
#if defined(PCONV_PASSES_X86)
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
            return passesAvx512();
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return passesAvx2();
#endif
        return passesBaseline();
    }();
    return best;
}

}  // namespace pconv::cpu
