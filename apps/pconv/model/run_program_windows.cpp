#include <process.h>

#include <filesystem>

#include "files/file_error.h"
#include "model/run_program.h"

namespace pconv::app {

int runProgram(const std::vector<std::string>& arguments) {
    // The child splits its command line again, at blanks that are not in quotes; a path holds no quote.
    std::vector<std::string> quoted;
    for (const std::string& argument : arguments) quoted.push_back('"' + argument + '"');
    std::vector<const char*> argv;
    for (const std::string& argument : quoted) argv.push_back(argument.c_str());
    argv.push_back(nullptr);
    return static_cast<int>(_spawnvp(_P_WAIT, arguments[0].c_str(), argv.data()));
}

std::string makePrivateFolder() {
    const auto parent = std::filesystem::temp_directory_path();
    for (int i = 0; i < 100; ++i) {
        const auto folder = parent / ("pconv-" + std::to_string(_getpid()) + "-" + std::to_string(i));
        std::error_code error;
        if (std::filesystem::create_directory(folder, error)) return folder.string();
    }
    throw WriteError("cannot make a folder for what is read");
}

}  // namespace pconv::app
