#pragma once

#include <memory>
#include <string>

#include "files/atomic_file.h"
#include "files/input_file.h"
#include "files/safetensors.h"

namespace pconv::app {

// What the command line calls a file: a path, or - for the standard input or output.

/// "-".
bool isDash(const std::string& argument);

/// "-", or a path to the same descriptor.
bool isStandardInput(const std::string& argument);

/// In quotes, or "the standard input".
std::string nameOfInput(const std::string& argument);
/// In quotes, or "the standard output".
std::string nameOfOutput(const std::string& argument);

InputFile openInput(const std::string& argument);
/// A file is read where it lies, a pipe is read whole first.
SafetensorsReader openSafetensors(const std::string& argument);

/// Its fault is told when it is opened, before any work: a folder that is not there, a file that is
/// read-only.
std::unique_ptr<AtomicFile> openOutput(const std::string& argument);

/// For what is not to be read by people: throws CommandError where it would go to a terminal.
void refuseTerminal(const AtomicFile& output, const char* what);

/// Whether a file's content goes where print() writes.
bool sharesStandardOutput(const std::string& argument);

}  // namespace pconv::app
