// Loops over the device's threads.
#pragma once

#if defined(_OPENMP)
#include <omp.h>
#endif

#include <algorithm>
#include <cstdint>
#include <exception>

namespace pconv::cpu {

// Calls body(thread, index) for every index below `count`, in any order, each thread one at a time. The first
// exception of a body is thrown again when all have ended.
template <typename Body>
void parallelFor([[maybe_unused]] int threads, int64_t count, const Body& body) {
#if defined(_OPENMP)
    const int used = static_cast<int>(std::min<int64_t>(threads, count));
    if (used > 1) {
        std::exception_ptr failure;
#pragma omp parallel for num_threads(used) schedule(dynamic, 1)
        for (int64_t i = 0; i < count; ++i) {
            try {
                body(omp_get_thread_num(), i);
            } catch (...) {
#pragma omp critical(pconv_parallel_failure)
                if (!failure) failure = std::current_exception();
            }
        }
        if (failure) std::rethrow_exception(failure);
        return;
    }
#endif
    for (int64_t i = 0; i < count; ++i) body(0, i);
}

}  // namespace pconv::cpu
