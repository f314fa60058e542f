// Loops over the device's threads.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

namespace pconv::cpu {

// Calls body(thread, index) for every index below `count`, in any order, each thread one at a time. The first
// exception of a body is thrown again when all have ended.
template <typename Body>
void parallelFor(int threads, int64_t count, const Body& body) {
    const int used = static_cast<int>(std::min<int64_t>(threads, count));
    if (used <= 1) {
        for (int64_t i = 0; i < count; ++i) body(0, i);
        return;
    }
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
}

}  // namespace pconv::cpu
