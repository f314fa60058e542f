#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "platform.h"

namespace pconv::app {
namespace {

// A signal handler may touch nothing but what is lock-free and in place.
char temporary[4096];
std::atomic<bool> has_temporary{false};
char privates[4][1024];
std::atomic<std::size_t> private_count{0};
std::atomic<bool> has_bar{false};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<std::size_t>::is_always_lock_free);

void say(const char* text) {
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

void onSignal(int signal) {
    if (has_temporary.load()) unlink(temporary);
    for (std::size_t i = 0; i < private_count.load(); ++i)
        if (unlink(privates[i]) != 0) rmdir(privates[i]);
    if (has_bar.load()) say("\r\x1b[K");
    say("pconv: interrupted\n");
    constexpr int kSignalBase = 128;
    _exit(kSignalBase + signal);
}

void handle(int signal, void (*handler)(int)) {
    struct sigaction action {};
    action.sa_handler = handler;
    sigfillset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
}

}  // namespace

void keepStandardStreams() {
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; ++stream) {
        if (fcntl(stream, F_GETFD) != -1) continue;
        if (open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0) return;
    }
}

void watchSignals() {
    handle(SIGINT, onSignal);
    handle(SIGTERM, onSignal);
    struct sigaction hangup {};
    // nohup has it ignored, and means it.
    if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler != SIG_IGN) handle(SIGHUP, onSignal);
    handle(SIGXFSZ, SIG_IGN);
}

void watchTemporary(const char* path) {
    has_temporary.store(false);
    if (path == nullptr || std::strlen(path) >= sizeof temporary) return;
    std::memcpy(temporary, path, std::strlen(path) + 1);
    has_temporary.store(true);
}

void watchPrivate(const std::vector<std::string>& paths) {
    private_count.store(0);
    std::size_t count = 0;
    for (const std::string& path : paths) {
        if (count == std::size(privates) || path.size() >= sizeof privates[0]) break;
        std::memcpy(privates[count++], path.c_str(), path.size() + 1);
    }
    private_count.store(count);
}

void noteProgressBar(bool shown) {
    has_bar.store(shown);
}

bool stderrIsTerminal() {
    return isatty(STDERR_FILENO) != 0;
}

std::uint64_t lastLevelCacheBytes() {
    // Linux's own account of the first core's caches; elsewhere there is none.
    std::uint64_t largest = 0;
    for (int index = 0; index < 10; ++index) {
        std::ifstream file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/size");
        std::uint64_t size = 0;
        char unit = 0;
        if (!(file >> size)) continue;
        file >> unit;
        if (unit == 'K') size <<= 10;
        if (unit == 'M') size <<= 20;
        if (size > largest) largest = size;
    }
    return largest;
}

double machineLoad() {
    double load = 0;
    return getloadavg(&load, 1) == 1 ? load : -1;
}

}  // namespace pconv::app
