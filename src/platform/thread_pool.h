// The threads of a device, or of a long call. They spin for microseconds after work and then sleep, so that a
// host with work of its own, or with a quota, pays for no waiting.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace pconv {

class ThreadPool {
  public:
    // `threads` counts the caller. The others start when there is work for them, as many as the system
    // grants.
    explicit ThreadPool(int threads) : ThreadPool(threads, nullptr, nullptr) {}
    // With threads of the host's in their place, where `host` is not null: it has work(context) called by at
    // most so many of them, at least once, and returns when all have returned.
    using Host = void (*)(void* user, int32_t threads, void (*work)(void* context), void* context);
    ThreadPool(int threads, Host host, void* user);
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    ~ThreadPool();

    int threads() const { return threads_; }
    // The threads that were started so far and the caller.
    int started() const;

    // Calls body(thread, index), or body(index), for every index below `count`, in any order, and returns
    // when all have returned; `thread` is below threads() and `most`, and no two calls at a time have the
    // same. The first exception of a body is thrown again when all have ended. One call at a time; a process
    // that was forked from one with threads starts its own.
    template <typename Body>
    void run(int64_t count, const Body& body, int most) {
        const Call call{[](const void* context, [[maybe_unused]] int thread, int64_t index) {
                            if constexpr (std::is_invocable_v<const Body&, int, int64_t>)
                                (*static_cast<const Body*>(context))(thread, index);
                            else
                                (*static_cast<const Body*>(context))(static_cast<int>(index));
                        },
                        &body, count};
        runCall(call, most);
    }
    template <typename Body>
    void run(int64_t count, const Body& body) {
        run(count, body, threads_);
    }

  private:
    struct Call {
        void (*body)(const void* context, int thread, int64_t index);
        const void* context;
        int64_t count;
    };
    class Team;
    void runCall(const Call& call, int most);
    void runOnHost(const Call& call, int threads) const;
    Team& team();

    int threads_;
    Host host_;
    void* user_;
    std::unique_ptr<Team> team_;  // null until there is work for it
    uint64_t forks_;              // of the process that made it
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
    pool.run(pieces, [&](int /*thread*/, int64_t i) { body(count * i / pieces, count * (i + 1) / pieces); });
}

}  // namespace pconv
