#pragma once

#include <chrono>

namespace pconv::app {

/// A bar on the terminal's error stream for work that takes more than a second; nothing where that is no
/// terminal.
class ProgressBar {
  public:
    explicit ProgressBar(const char* what);
    ~ProgressBar();
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    /// Takes the bar away, for a line that is to stand; the next update draws it again.
    void wipe();

    /// The fraction done, from 0 to 1.
    void update(double done);

  private:
    using Clock = std::chrono::steady_clock;
    const char* what_;
    bool wanted_;
    bool shown_ = false;
    Clock::time_point start_;
    Clock::time_point last_;
};

}  // namespace pconv::app
