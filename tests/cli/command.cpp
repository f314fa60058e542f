#include "command.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace pconv::test {
namespace {

namespace fs = std::filesystem;

std::string contentOf(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

void limit(int resource, unsigned long long bytes) {
    if (bytes == 0) return;
    const rlimit both = {static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
    setrlimit(static_cast<__rlimit_resource_t>(resource), &both);
}

void redirect(const char* path, int to) {
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(file, to);
    close(file);
}

Outcome runProgram(const char* program, const std::vector<std::string>& arguments, const Limits& limits) {
    char scratch[] = "/tmp/pconv_cli_XXXXXX";
    const fs::path captured = mkdtemp(scratch);
    const std::string out = limits.stdout_path.empty() ? (captured / "out").string() : limits.stdout_path;
    // A pipe, for a limit on the size of files must not cut the message short.
    int err[2] = {-1, -1};
    if (pipe(err) != 0) return {};
    std::vector<char*> argv = {const_cast<char*>(program)};
    for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        redirect(out.c_str(), STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        close(err[0]);
        close(err[1]);
        for (const char* name : {"PCONV_DEVICE", "PCONV_IMPL", "PCONV_VERBOSE"}) unsetenv(name);
        for (const auto& [name, value] : limits.environment) setenv(name.c_str(), value.c_str(), 1);
        umask(static_cast<mode_t>(limits.file_mode_mask));
        limit(RLIMIT_AS, limits.memory_bytes);
        limit(RLIMIT_FSIZE, limits.file_bytes);
        execv(program, argv.data());
        _exit(127);
    }
    close(err[1]);
    Outcome outcome;
    char block[4096];
    for (ssize_t size = 0; (size = ::read(err[0], block, sizeof block)) > 0;) {
        outcome.err.append(block, static_cast<std::size_t>(size));
    }
    close(err[0]);
    int status = 0;
    waitpid(child, &status, 0);
    outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (limits.stdout_path.empty()) outcome.out = contentOf(out);
    fs::remove_all(captured);
    return outcome;
}

}  // namespace

Outcome runCommand(const std::vector<std::string>& arguments, const Limits& limits) {
    return runProgram(PCONV_COMMAND, arguments, limits);
}

Outcome CommandTest::runShell(const std::string& script) const {
    Limits limits;
    limits.environment = {{"pconv", PCONV_COMMAND}};
    return runProgram("/bin/bash", {"-c", "cd '" + folder_.string() + "' && { " + script + "\n}"}, limits);
}

void CommandTest::SetUp() {
    const auto* info = ::testing::UnitTest::GetInstance()->current_test_info();
    std::string name = std::string(info->test_suite_name()) + "_" + info->name();
    std::replace(name.begin(), name.end(), '/', '_');
    folder_ = fs::path(::testing::TempDir()) / ("pconv_" + name + "_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
}

void CommandTest::TearDown() {
    fs::remove_all(folder_);
}

void CommandTest::write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
}

std::string CommandTest::read(const std::string& name) const {
    return contentOf(folder_ / name);
}

std::string CommandTest::files() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    std::string all;
    for (const std::string& name : names) all += (all.empty() ? "" : " ") + name;
    return all;
}

::testing::AssertionResult failsWith(const Outcome& outcome, int exit_code, const std::string& part) {
    const std::string& line = outcome.err;
    const bool one_line = !line.empty() && line.find('\n') == line.size() - 1;
    if (outcome.exit_code == exit_code && outcome.out.empty() && one_line && line.rfind("pconv: ", 0) == 0 &&
        line.find(part) != std::string::npos) {
        return ::testing::AssertionSuccess();
    }
    return ::testing::AssertionFailure()
           << "exit code " << outcome.exit_code << ", stdout '" << outcome.out << "', stderr '" << line
           << "'; expected " << exit_code << " and one line with '" << part << "'";
}

::testing::AssertionResult succeeds(const Outcome& outcome) {
    if (outcome.exit_code == 0 && outcome.err.empty()) return ::testing::AssertionSuccess();
    return ::testing::AssertionFailure()
           << "exit code " << outcome.exit_code << ", stderr '" << outcome.err << "'";
}

}  // namespace pconv::test
