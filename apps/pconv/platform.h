#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace pconv::app {

/// From now on Ctrl-C and its like remove the temporary file and end the process with 128 + the signal's
/// number; a file that grows beyond the allowed size is an error of the write.
void watchSignals();

/// The file to remove on a signal, or nullptr: a hook for AtomicFile.
void watchTemporary(const char* path);

/// Further files to remove then, and at last folders that they are in; an empty list ends that.
void watchPrivate(const std::vector<std::string>& paths);

/// Whether a progress bar stands on the terminal, to be wiped before a signal's message.
void noteProgressBar(bool shown);

/// Keeps the numbers of standard streams that are closed from going to files that are opened later. To be
/// called first; what is read from or written to such a stream still fails.
void keepStandardStreams();

bool stderrIsTerminal();

/// The CPU's largest cache, 0 if unknown.
std::uint64_t lastLevelCacheBytes();

/// How many threads want to run, as an average of the last minute; negative if unknown.
double machineLoad();

}  // namespace pconv::app
