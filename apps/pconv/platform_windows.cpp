#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "interruption.h"
#include "platform.h"

namespace pconv::app {
namespace {

// The handler runs on a thread of its own, beside whatever the others do.
void say(const char* text) {
    DWORD written = 0;
    WriteFile(GetStdHandle(STD_ERROR_HANDLE), text, static_cast<DWORD>(std::strlen(text)), &written, nullptr);
}

bool removeFile(const char* path) {
    return DeleteFileA(path) != 0;
}

void removeFolder(const char* path) {
    RemoveDirectoryA(path);
}

BOOL WINAPI onControl(DWORD /*what*/) {
    clearUp({removeFile, removeFolder, say});
    constexpr UINT kInterrupted = 130;  // as shells say of SIGINT
    TerminateProcess(GetCurrentProcess(), kInterrupted);
    return TRUE;
}

}  // namespace

void keepStandardStreams() {}  // what is opened later does not take their numbers

void watchSignals() {
    SetConsoleCtrlHandler(onControl, TRUE);
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
