#include "bench/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace pconv::app {
namespace {

constexpr double kRoundsWanted = 20;
constexpr int kMostRounds = 200;
constexpr int kMostCalls = 200;
constexpr double kInstant = 1e-9;
constexpr double kPatience = 30;  // budgets after which a slow device's rounds end

double secondsSince(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// One round: calls on one set after another, from `next` on.
double timeRound(const Timer& timer, const Contender& contender, std::size_t sets, int calls,
                 std::size_t& next) {
    timer.start();
    for (int i = 0; i < calls; ++i) contender.call(next++ % sets);
    timer.stop();
    return timer.seconds() / calls;
}

/// Compiles what is compiled late, touches every set and says how many calls make a round. Where a call is so
/// slow that a pass over the sets would outlast the budget, fewer sets are used.
std::size_t warmUp(const Timer& timer, std::vector<Contender>& contenders, std::size_t sets,
                   const TimeBudget& budget) {
    std::vector<double> seconds;
    double once = 0;
    for (const Contender& contender : contenders) {
        std::size_t first = 0;
        seconds.push_back(timeRound(timer, contender, 1, 1, first));
        // The first call of all may have compiled.
        if (seconds.back() < budget.seconds) seconds.back() = timeRound(timer, contender, 1, 1, first);
        once += seconds.back();
    }
    const double passes = std::min(budget.seconds / std::max(once, kInstant), 1e6);
    sets = std::clamp<std::size_t>(static_cast<std::size_t>(passes), 1, sets);
    const double share = budget.seconds / kRoundsWanted / static_cast<double>(contenders.size());
    for (std::size_t i = 0; i < contenders.size(); ++i) {
        std::size_t next = 0;
        if (sets > 1) seconds[i] = timeRound(timer, contenders[i], sets, static_cast<int>(sets), next);
        contenders[i].timing.calls =
            static_cast<int>(std::clamp<double>(share / std::max(seconds[i], kInstant), 1, kMostCalls));
    }
    return sets;
}

}  // namespace

double Timing::quantile(double part) const {
    std::vector<double> sorted = rounds;
    std::sort(sorted.begin(), sorted.end());
    const double at = part * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    const double rest = at - static_cast<double>(below);
    return sorted[below] * (1 - rest) + sorted[above] * rest;
}

std::size_t timeInTurn(const Device& device, std::vector<Contender>& contenders, std::size_t sets,
                       const TimeBudget& budget) {
    const Timer timer(device);
    sets = warmUp(timer, contenders, sets, budget);
    std::vector<std::size_t> next(contenders.size(), 0);
    const auto start = std::chrono::steady_clock::now();
    const auto goesOn = [&](int done) {
        if (budget.rounds > 0) return done < budget.rounds;
        if (done == 0) return true;
        const double elapsed = secondsSince(start);
        if (done < kLeastRounds) return elapsed < kPatience * budget.seconds;
        return elapsed < budget.seconds && done < kMostRounds;
    };
    for (int round = 0; goesOn(round); ++round)
        for (std::size_t i = 0; i < contenders.size(); ++i) {
            // No one always comes after the same other.
            const std::size_t which = (i + static_cast<std::size_t>(round)) % contenders.size();
            Timing& timing = contenders[which].timing;
            timing.rounds.push_back(timeRound(timer, contenders[which], sets, timing.calls, next[which]));
        }
    return sets;
}

double geometricMean(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += std::log(value);
    return std::exp(sum / static_cast<double>(values.size()));
}

}  // namespace pconv::app
