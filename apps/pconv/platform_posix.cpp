#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "interruption.h"
#include "platform.h"

namespace pconv::app {
namespace {

void say(const char* text) {
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

bool removeFile(const char* path) {
    return unlink(path) == 0;
}

void removeFolder(const char* path) {
    rmdir(path);
}

void onSignal(int signal) {
    clearUp({removeFile, removeFolder, say});
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
