// A few threads for the length of one call.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace pconv {

class ThreadPool {
  public:
    // `threads` counts the caller; fewer are used where the system grants no more.
    explicit ThreadPool(int threads);
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    ~ThreadPool();

    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    // Calls body(0) to body(count - 1), in any order on any thread, and returns when all have returned. An
    // exception of one is thrown again here.
    void run(int count, const std::function<void(int)>& body);

  private:
    void work();
    void drain(const std::function<void(int)>& body, int count);

    std::vector<std::thread> workers_;
    std::mutex mutex_;
    std::condition_variable wake_, finished_;
    const std::function<void(int)>* body_ = nullptr;
    int count_ = 0;
    int busy_ = 0;
    uint64_t round_ = 0;
    bool stop_ = false;
    std::atomic<int> next_{0};
    std::exception_ptr failure_;
};

// Splits [0, count) into pieces of at least `least` and calls body(begin, end) for each.
template <typename Body>
void parallelRanges(ThreadPool& pool, int64_t count, int64_t least, const Body& body) {
    const int64_t pieces = std::max<int64_t>(
        1, std::min<int64_t>(count / std::max<int64_t>(least, 1), int64_t{4} * pool.threads()));
    if (pieces == 1 || pool.threads() == 1) {
        body(int64_t{0}, count);
        return;
    }
    pool.run(static_cast<int>(pieces), [&](int i) { body(count * i / pieces, count * (i + 1) / pieces); });
}

}  // namespace pconv
