#include "argument_file.h"

#include "command.h"
#include "platform.h"
#include "platform/existing_file.h"

namespace pconv::app {

namespace fs = std::filesystem;

bool isDash(const std::string& argument) {
    return argument == "-";
}

bool isStandardInput(const std::string& argument) {
    return isDash(argument) || platform::descriptorOf(argument) == 0;
}

std::string nameOfInput(const std::string& argument) {
    return isDash(argument) ? "the standard input" : inQuotes(argument);
}

std::string nameOfOutput(const std::string& argument) {
    return isDash(argument) ? "the standard output" : inQuotes(argument);
}

InputFile openInput(const std::string& argument) {
    if (isDash(argument)) return InputFile::onStandardInput();
    return InputFile(argument);
}

SafetensorsReader openSafetensors(const std::string& argument) {
    std::error_code ignored;
    const bool is_stream = isDash(argument) || platform::descriptorOf(argument) >= 0 ||
                           fs::is_fifo(fs::status(argument, ignored));
    if (!is_stream) return SafetensorsReader(fs::path(argument));
    InputFile file = openInput(argument);
    return SafetensorsReader(file);
}

std::unique_ptr<AtomicFile> openOutput(const std::string& argument) {
    if (!isDash(argument)) return std::make_unique<AtomicFile>(argument, watchTemporary);
    return std::unique_ptr<AtomicFile>(new AtomicFile(AtomicFile::onStandardOutput()));
}

void refuseTerminal(const AtomicFile& output, const char* what) {
    if (!output.isTerminal()) return;
    throw CommandError(kExitBadInput, "the output is a terminal, which cannot show " + std::string(what) +
                                          "; expected a file or a pipe");
}

bool sharesStandardOutput(const std::string& argument) {
    constexpr int kStandardOutput = 1;
    return isDash(argument) || platform::descriptorOf(argument) == kStandardOutput;
}

}  // namespace pconv::app
