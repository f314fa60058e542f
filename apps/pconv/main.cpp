#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <new>
#include <system_error>

#include "command.h"
#include "files/file_error.h"
#include "pconv/pconv.hpp"
#include "platform.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout =
    "Fill the holes of pictures, and compute partial convolutions - convolutions over data with holes - on "
    "CPU,\n"
    "Vulkan and CUDA devices.\n";

constexpr const char* kExamples = R"(
Examples:
  pconv inpaint scan.png --mask scratches.png -o clean.png
      fill the white parts of scratches.png in scan.png
  pconv inpaint cutout.png -o whole.png
      fill the transparent parts of a picture
  pconv devices
      list what there is to compute on
  pconv run case.safetensors -o result.safetensors --device vulkan
      compute one partial convolution on tensors from a file
  pconv model import checkpoint.pth -o model.safetensors
      make a model file of a trained checkpoint
  pconv inpaint photo.jpg --mask hole.png --model model.safetensors -o filled.jpg
      fill with that network
  pconv conformance --device vulkan --report report.json
      hold a device to the reference numerics
  pconv bench --table 2d
      how fast a device is, beside its plain convolution

'pconv COMMAND --help' says more about each.

Exit codes: 0 done; 1 failed (disk full, no memory); 2 a bad file or argument; 3 the device is not there or
cannot do it. Every error is one line, and leaves no output file.

Environment:
  PCONV_DEVICE   the device where --device is not given
  PCONV_IMPL     the implementation where --impl is not given
  PCONV_VERBOSE  1 prints which implementation is chosen, 2 more)";

std::string versionText() {
    int major = 0;
    int minor = 0;
    int patch = 0;
    pconvGetVersion(&major, &minor, &patch);
    return "pconv " + std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

int fail(ExitCode code, const std::string& line) {
    if (!line.empty()) tell(line);
    return code;
}

ExitCode exitCodeOf(PconvStatus status) {
    switch (status) {
        case PCONV_ERROR_INVALID_ARGUMENT:
            return kExitBadInput;
        case PCONV_ERROR_UNSUPPORTED:
        case PCONV_ERROR_NO_DEVICE:
        case PCONV_ERROR_DEVICE:
            return kExitDevice;
        default:
            return kExitFailure;
    }
}

/// Parses the command line. Returns true where a command is to be run, else sets `code`.
bool parse(CLI::App& app, int argc, char** argv, int& code) {
    try {
        app.parse(argc, argv);
        return true;
    } catch (const CLI::CallForVersion& version) {
        print(std::string(version.what()) + "\n");
    } catch (const CLI::Success& /*help*/) {
        print(app.help());
    } catch (const CLI::ParseError& error) {
        const auto commands = app.get_subcommands();
        const std::string command = commands.empty() ? "" : " " + commands.front()->get_name();
        code = fail(kExitBadInput, std::string(error.what()) + " (see 'pconv" + command + " --help')");
    }
    return false;
}

int runCommand(int argc, char** argv) {
    CLI::App app(kAbout, "pconv");
    app.footer(kExamples);
    app.set_version_flag("--version", versionText(), "Print the version and exit");
    app.set_help_flag("-h,--help", "Print this help and exit");
    app.require_subcommand(0, 1);
    app.allow_windows_style_options(false);  // a path may begin with a slash
    constexpr std::size_t kOptionColumn = 24;
    app.get_formatter()->column_width(kOptionColumn);
    Action action;
    addInpaintCommand(app, action);
    addRunCommand(app, action);
    addDevicesCommand(app, action);
    addConformanceCommand(app, action);
    addBenchCommand(app, action);
    addModelCommand(app, action);
    addClassifyCommand(app, action);
    int code = kExitSuccess;
    if (parse(app, argc, argv, code)) {
        if (!action)
            throw CommandError(
                kExitBadInput,
                "no command is given; expected inpaint, run, devices, conformance, bench, model or classify "
                "(see 'pconv --help')");
        action();
    }
    return code;
}

int run(int argc, char** argv) {
    try {
        return runCommand(argc, argv);
    } catch (...) {
        const CommandFault fault = currentFault();
        return fail(fault.code, fault.line);
    }
}

}  // namespace

CommandFault currentFault() {
    try {
        throw;
    } catch (const CommandError& error) {
        return {error.code(), error.what()};
    } catch (const Error& error) {
        return {exitCodeOf(error.status()), error.what()};
    } catch (const WriteError& error) {
        return {kExitFailure, error.what()};
    } catch (const FileError& error) {
        return {kExitBadInput, error.what()};
    } catch (const std::bad_alloc&) {
        return {kExitFailure, "not enough memory"};
    } catch (const std::exception& error) {
        return {kExitFailure, error.what()};
    }
}

void tell(std::string line) {
    std::replace(line.begin(), line.end(), '\n', ' ');
    std::fprintf(stderr, "pconv: %s\n", line.c_str());
}

void print(const std::string& text, std::FILE* stream) {
    if (std::fwrite(text.data(), 1, text.size(), stream) != text.size() || std::fflush(stream) != 0) {
        throw WriteError("cannot write to the standard output: " + std::generic_category().message(errno));
    }
}

}  // namespace pconv::app

int main(int argc, char** argv) {
    pconv::app::keepStandardStreams();
    pconv::app::watchSignals();
    return pconv::app::run(argc, argv);
}
