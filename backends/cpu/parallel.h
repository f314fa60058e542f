// Loops over the device's threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "platform/thread_pool.h"

namespace pconv::cpu {

// How many threads there are for a loop, and where they are. A number wherever one is wanted.
class Threads {
  public:
    explicit Threads(ThreadPool& pool) : pool_(&pool), count_(pool.threads()) {}
    operator int() const { return count_; }
    ThreadPool& pool() const { return *pool_; }
    Threads atMost(int64_t count) const {
        Threads fewer = *this;
        fewer.count_ = static_cast<int>(std::clamp<int64_t>(count, 1, count_));
        return fewer;
    }

  private:
    ThreadPool* pool_;
    int count_;
};

// Calls body(thread, index) for every index below `count`, in any order, each thread one at a time. The first
// exception of a body is thrown again when all have ended.
template <typename Body>
void parallelFor(const Threads& threads, int64_t count, const Body& body) {
    if (threads > 1 && count > 1) return threads.pool().run(count, body, threads);
    for (int64_t i = 0; i < count; ++i) body(0, i);
}

}  // namespace pconv::cpu
