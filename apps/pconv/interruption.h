// What an interrupted command would leave behind. The command notes it by platform.h's functions; each
// platform's handler, which may touch nothing but what is lock-free and in place, has it cleared.
#pragma once

namespace pconv::app {

/// How a platform does it, from within its handler.
struct Cleaner {
    bool (*remove_file)(const char* path);
    void (*remove_folder)(const char* path);
    void (*say)(const char* text);
};

/// Removes the files, then the folders, wipes the progress bar and says that the command was interrupted.
void clearUp(const Cleaner& cleaner);

}  // namespace pconv::app
