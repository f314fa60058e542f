// A signal in the middle of writing: the temporary file is gone, and the exit code says which signal.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "command.h"
#include "files/atomic_file.h"
#include "platform.h"

namespace pconv::test {
namespace {

class Signals : public CommandTest, public ::testing::WithParamInterface<int> {};

TEST_P(Signals, LeaveNothingBehind) {
    write("out", "old");
    const pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        std::signal(GetParam(), SIG_DFL);  // as it may come ignored, from nohup
        app::watchSignals();
        AtomicFile file(path("out"), app::watchTemporary);
        file.write("half", 4);
        // The exit code tells the parent that there was something to remove.
        raise(files().find(".pconv-") != std::string::npos ? GetParam() : SIGKILL);
        _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 128 + GetParam());
    EXPECT_EQ(files(), "out");
    EXPECT_EQ(read("out"), "old");
}

TEST_P(Signals, RemovePrivateFolders) {
    const pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        std::signal(GetParam(), SIG_DFL);
        app::watchSignals();
        std::filesystem::create_directory(path("own"));
        write("own/file", "half");
        app::watchPrivate({path("own/file"), path("own/none"), path("own")});
        raise(GetParam());
        _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 128 + GetParam());
    EXPECT_EQ(files(), "");
}

INSTANTIATE_TEST_SUITE_P(All, Signals, ::testing::Values(SIGINT, SIGTERM, SIGHUP));

TEST_F(Signals, AFinishedFileIsNotRemoved) {
    const pid_t child = fork();
    if (child == 0) {
        close(STDERR_FILENO);
        app::watchSignals();
        AtomicFile file(path("out"), app::watchTemporary);
        file.write("whole", 5);
        file.commit();
        raise(SIGINT);
        _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(WEXITSTATUS(status), 128 + SIGINT);
    EXPECT_EQ(read("out"), "whole");
    EXPECT_EQ(files(), "out");
}

}  // namespace
}  // namespace pconv::test
