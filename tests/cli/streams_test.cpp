// "-", pipes and descriptors in the place of files, for every command.
#include <nlohmann/json.hpp>

#include "command.h"

namespace pconv::test {
namespace {

namespace fs = std::filesystem;

class Streams : public CommandTest {
  protected:
    void SetUp() override {
        CommandTest::SetUp();
        fs::copy_file(fs::path(PCONV_TEST_CASES) / "nvidia2d_k3_random.safetensors", path("case"));
        ASSERT_TRUE(succeeds(runShell(std::string(kRun) + " case -o expected")));
    }
    bool isExpected(const std::string& name) const { return read(name) == read("expected"); }

    static constexpr const char* kRun = "\"$pconv\" run --device cpu --impl cpu:reference";
};

TEST_F(Streams, RunReadsAndWritesWhatIsNoFile) {
    const std::string run = kRun;
    const std::vector<std::string> scripts = {
        "cat case | " + run + " - -o - > out",
        run + " - -o out < case",
        "cat case | " + run + " /dev/stdin -o /dev/stdout > out",
        run +
            " <(cat case) -o >(cat > out); for i in {1..5000}; do cmp -s out expected && break; sleep 0.02; "
            "done",
        run + " case -o /proc/self/fd/7 7> out",
        "mkfifo in pipe; cat case > in & cat pipe > out & " + run + " in -o pipe; wait; rm in pipe",
        run + " case -o - | cat > out",
    };
    for (const std::string& script : scripts) {
        EXPECT_TRUE(succeeds(runShell(script))) << script;
        EXPECT_TRUE(isExpected("out")) << script;
        fs::remove(path("out"));
        EXPECT_EQ(files(), "case expected") << script;
    }
}

TEST_F(Streams, WhatIsThereIsAppendedTo) {
    for (const char* output : {"-", "/dev/stdout", "/proc/self/fd/1", "/dev/fd/1"}) {
        write("log", "kept ");
        ASSERT_TRUE(succeeds(runShell(std::string(kRun) + " case -o " + output + " >> log")));
        EXPECT_EQ(read("log"), "kept " + read("expected")) << output;
    }
    // Several writers of one descriptor come after each other.
    ASSERT_TRUE(succeeds(runShell("{ " + std::string(kRun) + " case -o -; " + kRun + " case -o -; } > log")));
    EXPECT_EQ(read("log"), read("expected") + read("expected"));
}

TEST_F(Streams, FaultsAreOneLine) {
    const std::string run = kRun;
    EXPECT_TRUE(failsWith(runShell("head -c 100 case | " + run + " - -o out"), 2, "the standard input: "));
    EXPECT_TRUE(failsWith(runShell(run + " - -o out < /dev/zero"), 2, "the standard input: "));
    EXPECT_TRUE(failsWith(runShell(run + " - -o out <&-"), 2, "cannot read the standard input: Bad file"));
    EXPECT_TRUE(failsWith(runShell(run + " - -o out < ."), 2, "cannot read the standard input: Is a dir"));
    EXPECT_TRUE(
        failsWith(runShell(run + " case -o - > /dev/full"), 1, "cannot write to the standard output: No sp"));
    EXPECT_TRUE(
        failsWith(runShell(run + " case -o - >&-"), 1, "cannot write to the standard output: Bad file"));
    EXPECT_TRUE(failsWith(runShell(run + " case -o /dev/fd/9"), 1, "cannot write '/dev/fd/9': Bad file"));
    EXPECT_TRUE(
        failsWith(runShell(run + " case -o absent/out"), 1, "cannot write 'absent/out': No such file"));
    EXPECT_EQ(files(), "case expected");
    // A closed error stream must not become the file.
    EXPECT_EQ(runShell("PCONV_VERBOSE=2 " + run + " case -o out 2>&-").exit_code, 0);
    EXPECT_TRUE(isExpected("out"));
}

TEST_F(Streams, ReportsLeaveTheTableToTheErrorOutput) {
    const std::string one =
        "\"$pconv\" conformance --device cpu --impl cpu:reference reference/nvidia2d_k3_random";
    for (const char* name : {"-", "/dev/stdout"}) {
        const Outcome outcome = runShell(one + " --report " + name);
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
        EXPECT_EQ(nlohmann::json::parse(outcome.out, nullptr, false).value("format", ""),
                  "pconv-conformance-1")
            << name;
        EXPECT_NE(outcome.err.find("cpu:reference"), std::string::npos);
    }
    // A part of the suite is refused by name, so it has been read.
    for (const char* verify :
         {" | \"$pconv\" conformance verify -", " > r; \"$pconv\" conformance verify <(cat r)"})
        EXPECT_NE(runShell(one + " --report - 2> err" + verify).err.find("is of a part of the suite"),
                  std::string::npos);
    const Outcome bench = runShell(
        "\"$pconv\" bench --device cpu --table 2d --filter 'Sequential' --rounds 1 --shrink 16 --seconds "
        "0.001 --json -");
    EXPECT_EQ(bench.exit_code, 0) << bench.err;
    EXPECT_FALSE(nlohmann::json::parse(bench.out, nullptr, false).is_discarded());
    EXPECT_NE(bench.err.find("Sequential"), std::string::npos);
}

}  // namespace
}  // namespace pconv::test
