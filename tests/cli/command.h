// Runs the pconv command in a folder of its own and sees what it says and leaves.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace pconv::test {

struct Outcome {
    int exit_code = -1;  // 128 + the signal's number where one ended it
    std::string out;
    std::string err;
};

struct Limits {
    std::map<std::string, std::string> environment;
    unsigned long long memory_bytes = 0;  // of address space; 0: no limit
    unsigned long long file_bytes = 0;    // of a file written; 0: no limit
    unsigned file_mode_mask = 022;
    std::string stdout_path;  // where the output goes instead of being captured
};

Outcome runCommand(const std::vector<std::string>& arguments, const Limits& limits = {});

class CommandTest : public ::testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    std::string path(const std::string& name) const { return (folder_ / name).string(); }
    void write(const std::string& name, const std::string& content) const;
    std::string read(const std::string& name) const;
    // By bash in that folder, with the command as "$pconv".
    Outcome runShell(const std::string& script) const;
    // The names in the folder, sorted, with a space between.
    std::string files() const;

    std::filesystem::path folder_;
};

// The command failed as it should: this code, nothing on stdout, one line that begins "pconv: " and has
// `part`.
::testing::AssertionResult failsWith(const Outcome& outcome, int exit_code, const std::string& part);

// It did what was asked and had nothing to say.
::testing::AssertionResult succeeds(const Outcome& outcome);

}  // namespace pconv::test
