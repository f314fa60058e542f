#include "platform/thread_pool.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "platform/process.h"

namespace pconv {

namespace {

using Clock = std::chrono::steady_clock;

// Longer than the passes between two parallel parts of a layer, and about what waking a thread takes.
constexpr auto kSpin = std::chrono::microseconds(50);
constexpr int kPausesBetweenLooks = 16;
// After the system has refused a thread.
constexpr auto kRetryStart = std::chrono::seconds(1);

// The gate of a team: which call is open, how many more threads may join it, and how many are in it.
constexpr uint64_t kOneInside = 1;
constexpr uint64_t kOnePlace = uint64_t{1} << 16;
constexpr uint64_t kMask = 0xFFFF;
constexpr uint64_t kOneCall = uint64_t{1} << 32;

uint64_t inside(uint64_t gate) {
    return gate & kMask;
}

uint64_t places(uint64_t gate) {
    return gate / kOnePlace & kMask;
}

uint64_t callOf(uint64_t gate) {
    return gate / kOneCall;
}

void pause() {
#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
    asm volatile("yield");
#endif
}

// Whether done() holds within the time that spinning is worth.
template <typename Done>
bool spinUntil(bool spins, const Done& done) {
    if (done()) return true;
    if (!spins) return false;
    const auto end = Clock::now() + kSpin;
    do {
        for (int i = 0; i < kPausesBetweenLooks; ++i) pause();
        if (done()) return true;
    } while (Clock::now() < end);
    return false;
}

}  // namespace

// The started threads. The caller never waits for one that has not joined a call: a thread that the system
// lets wait, on a busy machine, holds nothing up.
// NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding): what threads contend for has lines of its own.
class ThreadPool::Team {
  public:
    explicit Team(int threads) : spins_(threads <= platform::usableProcessors()) {}
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;
    ~Team() {
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            stop_ = true;
        }
        wake_.notify_all();
        for (std::thread& thread : threads_) thread.join();
    }

    int size() const { return static_cast<int>(threads_.size()); }

    void grow(int wanted) {
        if (size() >= wanted || (refused_ && Clock::now() < retry_)) return;
        refused_ = false;
        try {
            threads_.reserve(static_cast<size_t>(wanted));
            while (size() < wanted) threads_.emplace_back([this] { work(); });
        } catch (const std::exception&) {
            refused_ = true;
            retry_ = Clock::now() + kRetryStart;
        }
    }

    void run(const Call& call, int helpers) {
        call_ = call;
        next_.store(0, std::memory_order_relaxed);
        const uint64_t number = callOf(gate_.load(std::memory_order_relaxed)) + 1;
        gate_.store(number * kOneCall + static_cast<uint64_t>(helpers) * kOnePlace);
        wake(helpers);
        drain(0);
        close();
        if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    }

  private:
    void wake(int helpers) {
        const int asleep = asleep_.load();
        if (asleep == 0) return;
        const int awake = size() - asleep;
        { const std::lock_guard<std::mutex> lock(mutex_); }
        if (helpers >= asleep + awake) return wake_.notify_all();
        for (int i = awake; i < helpers; ++i) wake_.notify_one();
    }

    // No thread joins any more; waits for those inside.
    void close() {
        gate_.fetch_and(~(kMask * kOnePlace));
        const auto empty = [this] { return inside(gate_.load()) == 0; };
        if (spinUntil(spins_, empty)) return;
        std::unique_lock<std::mutex> lock(mutex_);
        caller_waits_.store(true);
        left_.wait(lock, empty);
        caller_waits_.store(false);
    }

    // Takes a place in the open call, if it is not `last`; its number, or 0.
    int join(uint64_t& last) {
        uint64_t gate = gate_.load();
        while (places(gate) > 0 && callOf(gate) != last)
            if (gate_.compare_exchange_weak(gate, gate - kOnePlace + kOneInside)) {
                last = callOf(gate);
                return static_cast<int>(places(gate));
            }
        return 0;
    }

    void leave() {
        if (inside(gate_.fetch_sub(kOneInside)) != 1 || !caller_waits_.load()) return;
        { const std::lock_guard<std::mutex> lock(mutex_); }
        left_.notify_one();
    }

    void work() {
        uint64_t last = 0;
        while (!stop_) {
            int place = 0;
            const auto joined = [&] {
                place = join(last);
                return place > 0 || stop_;
            };
            if (!spinUntil(spins_, joined)) {
                std::unique_lock<std::mutex> lock(mutex_);
                asleep_.fetch_add(1);
                wake_.wait(lock, joined);
                asleep_.fetch_sub(1);
            }
            if (place == 0) continue;
            drain(place);
            leave();
        }
    }

    void drain(int thread) {
        for (int64_t i = next_++; i < call_.count; i = next_++) {
            try {
                call_.body(call_.context, thread, i);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(mutex_);
                if (!failure_) failure_ = std::current_exception();
            }
        }
    }

    const bool spins_;
    alignas(64) std::atomic<uint64_t> gate_{0};
    alignas(64) std::atomic<int64_t> next_{0};
    alignas(64) Call call_{};
    std::atomic<int> asleep_{0};
    std::atomic<bool> caller_waits_{false};
    std::atomic<bool> stop_{false};
    std::mutex mutex_;
    std::condition_variable wake_, left_;
    std::exception_ptr failure_;
    std::vector<std::thread> threads_;
    bool refused_ = false;
    Clock::time_point retry_;
};

ThreadPool::ThreadPool(int threads, Host host, void* user)
    : threads_(std::clamp(threads, 1, static_cast<int>(kMask))),
      host_(host),
      user_(user),
      forks_(platform::forkCount()) {}

ThreadPool::~ThreadPool() {
    // In a forked process the threads do not exist, and what they held stays as it was.
    if (forks_ != platform::forkCount()) static_cast<void>(team_.release());
}

int ThreadPool::started() const {
    return team_ && forks_ == platform::forkCount() ? team_->size() + 1 : 1;
}

ThreadPool::Team& ThreadPool::team() {
    if (forks_ != platform::forkCount()) {
        static_cast<void>(team_.release());
        forks_ = platform::forkCount();
    }
    if (!team_) team_ = std::make_unique<Team>(threads_);
    return *team_;
}

void ThreadPool::runOnHost(const Call& call, int threads) const {
    struct Shared {
        const Call& call;
        int threads;
        std::atomic<int> places{0};
        std::atomic<int64_t> next{0};
        std::mutex mutex;
        std::exception_ptr failure;
    } shared{call, threads, {}, {}, {}, {}};
    host_(
        user_, threads,
        [](void* context) {
            auto& s = *static_cast<Shared*>(context);
            const int place = s.places++;
            if (place >= s.threads) return;  // more than were asked for
            for (int64_t i = s.next++; i < s.call.count; i = s.next++) {
                try {
                    s.call.body(s.call.context, place, i);
                } catch (...) {
                    const std::lock_guard<std::mutex> lock(s.mutex);
                    if (!s.failure) s.failure = std::current_exception();
                }
            }
        },
        &shared);
    if (shared.failure) std::rethrow_exception(shared.failure);
    // A host that had nobody work.
    for (int64_t i = shared.next++; i < call.count; i = shared.next++) call.body(call.context, 0, i);
}

void ThreadPool::runCall(const Call& call, int most) {
    const auto wanted = static_cast<int>(std::min<int64_t>({most, threads_, call.count})) - 1;
    if (wanted > 0 && host_ != nullptr) return runOnHost(call, wanted + 1);
    if (wanted > 0) {
        Team& workers = team();
        workers.grow(wanted);
        const int helpers = std::min(wanted, workers.size());
        if (helpers > 0) return workers.run(call, helpers);
    }
    for (int64_t i = 0; i < call.count; ++i) call.body(call.context, 0, i);
}

}  // namespace pconv
