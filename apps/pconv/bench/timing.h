#pragma once

#include <functional>
#include <string>
#include <vector>

#include "pconv/pconv.hpp"

namespace pconv::app {

/// Seconds a call, one value a round.
struct Timing {
    std::vector<double> rounds;
    int calls = 1;  ///< in each round

    bool empty() const { return rounds.empty(); }
    double median() const { return quantile(0.5); }
    double low() const { return quantile(0.1); }
    double high() const { return quantile(0.9); }
    double quantile(double part) const;
};

/// How long to measure.
struct TimeBudget {
    double seconds = 1;  ///< for all that is compared, but at least kLeastRounds
    int rounds = 0;      ///< exactly so many; 0: as the seconds have it
};

constexpr int kLeastRounds = 5;

/// What is compared: `call` enqueues one call on the tensors of a set.
struct Contender {
    std::function<void(std::size_t set)> call;
    Timing timing;
};

/// Measures the contenders in turn, round by round, on the device's clock, every call on the next of `sets`
/// sets of tensors. Devices too slow for kLeastRounds get fewer, but at least one. Returns how many sets were
/// used: fewer where a call is so slow that a cache says nothing.
std::size_t timeInTurn(const Device& device, std::vector<Contender>& contenders, std::size_t sets,
                       const TimeBudget& budget);

double geometricMean(const std::vector<double>& values);

}  // namespace pconv::app
