// What becomes of a file that is written over: who owns it, what it is called, and what is no file at all.
#include "files/atomic_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <thread>

#include "files/file_error.h"
#include "files/input_file.h"
#if defined(__linux__)
#include <sys/xattr.h>
#endif

namespace pconv {
namespace {

namespace fs = std::filesystem;

constexpr uid_t kNobody = 65534;

class AtomicFiles : public ::testing::Test {
  protected:
    void SetUp() override {
        folder_ = fs::path(::testing::TempDir()) / ("pconv_atomic_" + std::to_string(getpid()));
        fs::remove_all(folder_);
        fs::create_directories(folder_);
    }
    void TearDown() override { fs::remove_all(folder_); }

    fs::path make(const std::string& name, const std::string& content, mode_t mode = 0644) const {
        std::ofstream(folder_ / name, std::ios::binary) << content;
        chmod((folder_ / name).c_str(), mode);
        return folder_ / name;
    }
    static std::string contentOf(const fs::path& path) {
        std::ifstream stream(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    }
    static void save(const fs::path& path, const std::string& content) {
        AtomicFile file(path);
        file.write(content.data(), content.size());
        file.commit();
    }
    static struct stat statusOf(const fs::path& path) {
        struct stat status {};
        EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
        return status;
    }
    long filesInFolder() const {
        return std::distance(fs::directory_iterator(folder_), fs::directory_iterator());
    }
    /// Runs in a process that is not root; what it returns is its exit code.
    static int asNobody(const std::function<int()>& body) {
        const pid_t child = fork();
        if (child == 0) {
            if (geteuid() == 0 && (setgid(kNobody) != 0 || setuid(kNobody) != 0)) _exit(99);
            int code = 98;
            try {
                code = body();
            } catch (const WriteError&) {
                code = 97;
            }
            _exit(code);
        }
        int status = 0;
        waitpid(child, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

    fs::path folder_;
};

constexpr int kWriteError = 97;

TEST_F(AtomicFiles, KeepOwnerAndPermissionsButNoSetId) {
    const fs::path path = make("x", "old, and longer");
    if (geteuid() == 0) {
        ASSERT_EQ(chown(path.c_str(), 1234, 2345), 0);
    }
    ASSERT_EQ(chmod(path.c_str(), 06751), 0);
    const struct stat before = statusOf(path);
    save(path, "new");
    const struct stat after = statusOf(path);
    EXPECT_EQ(contentOf(path), "new");
    EXPECT_EQ(after.st_uid, before.st_uid);
    EXPECT_EQ(after.st_gid, before.st_gid);
    EXPECT_EQ(after.st_mode & 07777, 0751U);
    EXPECT_NE(after.st_ino, before.st_ino) << "replaced in one step";
    EXPECT_EQ(filesInFolder(), 1);
}

TEST_F(AtomicFiles, KeepTheirOtherNames) {
    const fs::path path = make("x", "old, and longer", 06755);
    fs::create_hard_link(path, folder_ / "y");
    {
        AtomicFile file(path);
        file.write("new", 3);
        EXPECT_EQ(contentOf(path), "old, and longer") << "not before it is whole";
    }
    EXPECT_EQ(contentOf(path), "old, and longer");
    save(path, "new");
    EXPECT_EQ(contentOf(folder_ / "y"), "new");
    EXPECT_EQ(statusOf(path).st_nlink, 2U);
    EXPECT_EQ(statusOf(path).st_mode & 07777, 0755U);
    EXPECT_EQ(filesInFolder(), 2);
}

TEST_F(AtomicFiles, AFaultInPlaceKeepsWhatIsThere) {
    const fs::path path = make("x", "old");
    fs::create_hard_link(path, folder_ / "y");
    const int code = asNobody([&] {
        std::signal(SIGXFSZ, SIG_IGN);
        const rlimit most = {1000, 1000};
        setrlimit(RLIMIT_FSIZE, &most);
        save(path, std::string(5000, 'n'));
        return 0;
    });
    EXPECT_EQ(code, kWriteError);
    EXPECT_EQ(contentOf(path), "old");
}

#if defined(__linux__)
TEST_F(AtomicFiles, KeepExtendedAttributes) {
    const fs::path path = make("x", "old");
    if (setxattr(path.c_str(), "user.origin", "camera", 6, 0) != 0)
        GTEST_SKIP() << "no extended attributes in " << folder_;
    save(path, "new");
    char value[16] = {};
    EXPECT_EQ(getxattr(path.c_str(), "user.origin", value, sizeof value), 6);
    EXPECT_STREQ(value, "camera");
    EXPECT_EQ(contentOf(path), "new");
}
#endif

TEST_F(AtomicFiles, AWritableFileInAnUnwritableFolderIsWrittenInPlace) {
    const fs::path path = make("x", "old, and longer", 0666);
    const fs::path locked = make("locked", "mine", 0444);
    chmod(folder_.c_str(), 0555);
    EXPECT_EQ(asNobody([&] {
                  save(path, "new");
                  return 0;
              }),
              0);
    EXPECT_EQ(contentOf(path), "new");
    EXPECT_EQ(asNobody([&] {
                  save(locked, "new");
                  return 0;
              }),
              kWriteError);
    EXPECT_EQ(asNobody([&] {
                  const AtomicFile file(folder_ / "none");
                  return 0;
              }),
              kWriteError)
        << "told when it is opened";
    chmod(folder_.c_str(), 0755);
    EXPECT_EQ(contentOf(locked), "mine");
    EXPECT_EQ(filesInFolder(), 2);
}

TEST_F(AtomicFiles, AnotherOwnersFileStaysTheirs) {
    if (geteuid() != 0) GTEST_SKIP() << "needs root, to give a file away";
    const fs::path path = make("x", "old, and longer", 0666);
    // Where only owners may rename, as in /tmp, and where everybody may.
    for (const mode_t mode : {01777U, 0777U}) {
        chmod(folder_.c_str(), mode);
        EXPECT_EQ(asNobody([&] {
                      save(path, "new " + std::to_string(mode));
                      return 0;
                  }),
                  0);
        EXPECT_EQ(contentOf(path), "new " + std::to_string(mode));
        EXPECT_EQ(statusOf(path).st_uid, 0U);
    }
    EXPECT_EQ(filesInFolder(), 1);
}

TEST_F(AtomicFiles, DescriptorsAreWrittenWhereTheyStand) {
    const fs::path path = make("x", "before ");
    const int descriptor = open(path.c_str(), O_WRONLY | O_APPEND);
    const std::string number = std::to_string(descriptor);
    for (const std::string& name : {"/dev/fd/" + number, "/proc/self/fd/" + number}) {
        if (!fs::exists(name)) GTEST_SKIP() << "no " << name << " here";
        save(name, "more ");
    }
    const fs::path link = folder_ / "link";
    fs::create_symlink("/dev/fd/" + number, link);
    save(link, "last");
    EXPECT_EQ(contentOf(path), "before more more last");
    EXPECT_NE(fcntl(descriptor, F_GETFD), -1) << "it is the caller's to close";
    fs::remove(path);
    save("/dev/fd/" + number, ", without a name");
    EXPECT_EQ(statusOf("/dev/fd/" + number).st_size, 37);
    EXPECT_EQ(filesInFolder(), 1) << "and no file of what the link says";
    close(descriptor);
    EXPECT_THROW(AtomicFile("/dev/fd/" + number), WriteError);
    const int to_read = open(make("r", "").c_str(), O_RDONLY);
    EXPECT_THROW(AtomicFile("/dev/fd/" + std::to_string(to_read)), WriteError);
    close(to_read);
}

TEST_F(AtomicFiles, PipesAreWrittenAndRead) {
    const fs::path fifo = folder_ / "fifo";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    std::string got;
    std::thread reader([&] {
        InputFile file(fifo);
        std::vector<std::uint8_t> bytes;
        file.append(bytes, 3);
        file.appendRest(bytes, 1 << 20);
        got.assign(bytes.begin(), bytes.end());
    });
    const std::string sent(100'000, 'p');
    save(fifo, sent);
    reader.join();
    EXPECT_EQ(got, sent);
    EXPECT_TRUE(fs::is_fifo(fifo));
    EXPECT_EQ(filesInFolder(), 1);
}

TEST_F(AtomicFiles, InputsHaveABoundAndANameInTheirFaults) {
    const fs::path path = make("x", "12345");
    std::vector<std::uint8_t> bytes;
    InputFile(path).appendRest(bytes, 5);
    EXPECT_EQ(bytes.size(), 5U);
    bytes.clear();
    const auto fault = [&](const fs::path& from, std::size_t most) -> std::string {
        try {
            InputFile(from).appendRest(bytes, most);
        } catch (const FileError& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_EQ(fault(path, 4),
              "cannot read '" + path.string() + "': more than 4 bytes; at most those are read");
    EXPECT_NE(fault("/dev/zero", 1 << 22).find("more than 4194304 bytes"), std::string::npos);
    EXPECT_NE(fault(folder_, 4).find("it is a folder"), std::string::npos);
    EXPECT_NE(fault(folder_ / "none", 4).find("none': "), std::string::npos);
}

}  // namespace
}  // namespace pconv
