#pragma once

#include <string>
#include <vector>

namespace pconv::app {

/// Runs a program found on the path, with no input and this process's outputs, and waits; its exit code, -1
/// where it cannot be started or was ended by a signal.
int runProgram(const std::vector<std::string>& arguments);

/// A folder of its own for this process alone, to be removed by the caller. Throws WriteError.
std::string makePrivateFolder();

}  // namespace pconv::app
