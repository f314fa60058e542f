#include "core/thread_pool.h"

#include <utility>

namespace pconv {

ThreadPool::ThreadPool(int threads) {
    if (threads < 2) return;
    workers_.reserve(static_cast<size_t>(threads) - 1);
    try {
        for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::exception&) {
        // Those that did start do the work.
    }
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
}

void ThreadPool::run(int count, const std::function<void(int)>& body) {
    if (workers_.empty() || count < 2) {
        for (int i = 0; i < count; ++i) body(i);
        return;
    }
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        body_ = &body;
        count_ = count;
        next_ = 0;
        busy_ = static_cast<int>(workers_.size());
        ++round_;
    }
    wake_.notify_all();
    drain(body, count);
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [this] { return busy_ == 0; });
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void ThreadPool::work() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
        wake_.wait(lock, [&] { return stop_ || round_ != seen; });
        if (stop_) return;
        seen = round_;
        const auto* body = body_;
        const int count = count_;
        lock.unlock();
        drain(*body, count);
        lock.lock();
        if (--busy_ == 0) finished_.notify_one();
    }
}

void ThreadPool::drain(const std::function<void(int)>& body, int count) {
    for (int i = next_++; i < count; i = next_++) {
        try {
            body(i);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(mutex_);
            if (!failure_) failure_ = std::current_exception();
        }
    }
}

}  // namespace pconv
