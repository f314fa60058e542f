#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <vector>

#include "platform.h"

namespace pconv::app {
namespace {

// The handler runs on a thread of its own, beside whatever the others do.
char temporary[4096];
std::atomic<bool> has_temporary{false};
char privates[4][1024];
std::atomic<std::size_t> private_count{0};
std::atomic<bool> has_bar{false};

void say(const char* text) {
    DWORD written = 0;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, static_cast<DWORD>(std::strlen(text)), &written, nullptr);
}

BOOL WINAPI onControl(DWORD /*what*/) {
    if (has_temporary.load()) DeleteFileA(temporary);
    for (std::size_t i = 0; i < private_count.load(); ++i)
        if (DeleteFileA(privates[i]) == 0) RemoveDirectoryA(privates[i]);
    if (has_bar.load()) say("\r\x1b[K");
    say("pconv: interrupted\n");
    constexpr UINT kInterrupted = 130;  // as shells say of SIGINT
    TerminateProcess(GetCurrentProcess(), kInterrupted);
    return TRUE;
}

}  // namespace

void keepStandardStreams() {}  // what is opened later does not take their numbers

void watchSignals() {
    SetConsoleCtrlHandler(onControl, TRUE);
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
    // A console that does not take the escape sequences of a progress bar is none for this purpose.
    HANDLE console = GetStdHandle(STD_ERROR_HANDLE);
    DWORD mode = 0;
    constexpr DWORD kEscapes = 4;  // ENABLE_VIRTUAL_TERMINAL_PROCESSING
    return GetConsoleMode(console, &mode) != 0 && SetConsoleMode(console, mode | kEscapes) != 0;
}

std::uint64_t lastLevelCacheBytes() {
    DWORD bytes = 0;
    GetLogicalProcessorInformation(nullptr, &bytes);
    std::vector<SYSTEM_LOGICAL_PROCESSOR_INFORMATION> entries(bytes /
                                                              sizeof(SYSTEM_LOGICAL_PROCESSOR_INFORMATION));
    if (entries.empty() || GetLogicalProcessorInformation(entries.data(), &bytes) == 0) return 0;
    std::uint64_t largest = 0;
    for (const auto& entry : entries)
        if (entry.Relationship == RelationCache && entry.Cache.Size > largest) largest = entry.Cache.Size;
    return largest;
}

double machineLoad() {
    return -1;
}

}  // namespace pconv::app
