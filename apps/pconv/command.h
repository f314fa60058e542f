#pragma once

#include <CLI/CLI.hpp>
#include <cstdio>
#include <functional>
#include <stdexcept>
#include <string>

#include "pconv/pconv.h"

namespace pconv::app {

enum ExitCode {
    kExitSuccess = 0,
    kExitFailure = 1,   ///< writing failed, no memory
    kExitBadInput = 2,  ///< a file or an argument is at fault
    kExitDevice = 3,    ///< the device is absent, or cannot do it
};

/// A fault that ends the command, in one line; an empty one where all has been said.
class CommandError : public std::runtime_error {
  public:
    CommandError(ExitCode code, const std::string& line) : std::runtime_error(line), code_(code) {}
    ExitCode code() const { return code_; }

  private:
    ExitCode code_;
};

/// The exit code and the line for the exception that is being handled.
struct CommandFault {
    ExitCode code;
    std::string line;
};
CommandFault currentFault();

/// Writes one line for the user to stderr.
void tell(std::string line);

/// What the command line asked for; set while it is parsed, run afterwards.
using Action = std::function<void()>;

void addDevicesCommand(CLI::App& app, Action& action);
void addRunCommand(CLI::App& app, Action& action);
void addInpaintCommand(CLI::App& app, Action& action);
void addConformanceCommand(CLI::App& app, Action& action);
void addBenchCommand(CLI::App& app, Action& action);
void addModelCommand(CLI::App& app, Action& action);
void addClassifyCommand(CLI::App& app, Action& action);

/// "cpu", "discrete-gpu", ...
const char* deviceTypeName(PconvDeviceType type);

/// Writes to stdout or stderr, and fails where it cannot.
void print(const std::string& text, std::FILE* stream = stdout);

constexpr const char* kDeviceHelp =
    "cpu, vulkan, cuda, vulkan:1, uuid:..., pci:..., or a number or name from 'pconv devices'";

/// --math, into a PconvMath or an optional one.
template <typename Math>
void addMathOption(CLI::App& command, Math& math) {
    command
        .add_option_function<std::string>(
            "--math",
            [&math](const std::string& text) { math = text == "fast" ? PCONV_MATH_FAST : PCONV_MATH_EXACT; },
            "exact (the default), or fast: Winograd and TF32 are allowed")
        ->check(CLI::IsMember({"exact", "fast"}))
        ->option_text("MATH");
}

}  // namespace pconv::app
