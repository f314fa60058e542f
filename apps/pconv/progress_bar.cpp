#include "progress_bar.h"

#include <algorithm>
#include <cstdio>
#include <string>

#include "platform.h"

namespace pconv::app {
namespace {

constexpr std::chrono::milliseconds kQuiet{1000};
constexpr std::chrono::milliseconds kBetween{100};
constexpr std::size_t kWidth = 40;

}  // namespace

ProgressBar::ProgressBar(const char* what)
    : what_(what), wanted_(stderrIsTerminal()), start_(Clock::now()), last_(start_) {}

ProgressBar::~ProgressBar() {
    wipe();
}

void ProgressBar::wipe() {
    if (!shown_) return;
    std::fputs("\r\x1b[K", stderr);
    std::fflush(stderr);
    shown_ = false;
    noteProgressBar(false);
}

void ProgressBar::update(double done) {
    const Clock::time_point now = Clock::now();
    if (!wanted_ || now - start_ < kQuiet || now - last_ < kBetween) return;
    last_ = now;
    shown_ = true;
    noteProgressBar(true);
    done = std::clamp(done, 0.0, 1.0);
    const auto filled = static_cast<std::size_t>(done * kWidth);
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
    std::string left;
    constexpr double kEnoughToTell = 0.05;
    if (done > kEnoughToTell) {
        const double seconds = std::chrono::duration<double>(now - start_).count() * (1 - done) / done;
        left = ", " + std::to_string(static_cast<long>(seconds + 1)) + " s left";
    }
    std::fprintf(stderr, "\r%s [%s] %3.0f %%%s\x1b[K", what_, bar.c_str(), done * 100, left.c_str());
    std::fflush(stderr);
}

}  // namespace pconv::app
