// Hosts that open the library at run time, however they name it, and then change the working folder: the
// modules beside it are found.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include "pconv/pconv.h"

namespace pconv::test {
namespace {

namespace fs = std::filesystem;

const fs::path kLibrary = PCONV_LIBRARY_FILE;  // libpconv.so.0.2.0, as built

// In a child, which loads the library for the first time: what `body` has to say, "" if all is well.
std::string inChild(const std::function<std::string()>& body) {
    int ends[2];
    if (pipe(ends) != 0) return "no pipe";
    const pid_t child = fork();
    if (child == 0) {
        alarm(600);
        const std::string words = body();
        const bool written = write(ends[1], words.data(), words.size()) == static_cast<ssize_t>(words.size());
        _exit(written ? 0 : 1);
    }
    close(ends[1]);
    std::string words;
    char part[512];
    for (ssize_t size = 0; (size = read(ends[0], part, sizeof part)) > 0;)
        words.append(part, static_cast<size_t>(size));
    close(ends[0]);
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        return "the child ended with status " + std::to_string(status);
    return words;
}

// Opens the library by `name` and a CPU device after changing to the root folder; the fault, or "".
std::string useLibrary(const std::string& name) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return dlerror();
    fs::current_path("/");
    auto* create = reinterpret_cast<decltype(&pconvCreateDevice)>(dlsym(library, "pconvCreateDevice"));
    auto* error = reinterpret_cast<decltype(&pconvGetLastError)>(dlsym(library, "pconvGetLastError"));
    auto* release = reinterpret_cast<decltype(&pconvReleaseDevice)>(dlsym(library, "pconvReleaseDevice"));
    PconvDevice device = nullptr;
    if (create("cpu", nullptr, &device) != PCONV_SUCCESS) return error();
    release(device);
    return "";
}

fs::path emptyFolder() {
    fs::path folder = fs::path(testing::TempDir()) / "pconv_host_loading";
    fs::remove_all(folder);
    fs::create_directories(folder);
    return folder;
}

TEST(HostLoading, ByARelativePath) {
    EXPECT_EQ(inChild([] {
                  fs::current_path(kLibrary.parent_path());
                  return useLibrary("./" + kLibrary.filename().string());
              }),
              "");
    EXPECT_EQ(inChild([] {
                  fs::current_path(kLibrary.parent_path().parent_path());
                  return useLibrary(kLibrary.parent_path().filename().string() + "/../" +
                                    kLibrary.parent_path().filename().string() + "/" +
                                    kLibrary.filename().string());
              }),
              "");
}

TEST(HostLoading, ByALoneLink) {
    const fs::path link = emptyFolder() / "libpconv.so.0";
    fs::create_symlink(kLibrary, link);
    EXPECT_EQ(inChild([&] { return useLibrary(link.string()); }), "");
    EXPECT_EQ(inChild([&] {
                  fs::current_path(link.parent_path());
                  return useLibrary("./libpconv.so.0");
              }),
              "");
}

// As a farm of links has them: neither lies beside the other's file.
TEST(HostLoading, ByALinkBesideALinkToTheModule) {
    const fs::path folder = emptyFolder();
    fs::create_directories(folder / "library");
    fs::create_directories(folder / "farm");
    fs::copy_file(kLibrary, folder / "library" / "libpconv.so.0");
    fs::create_symlink(folder / "library" / "libpconv.so.0", folder / "farm" / "libpconv.so.0");
    fs::create_symlink(kLibrary.parent_path() / "libpconv_cpu.so", folder / "farm" / "libpconv_cpu.so");
    EXPECT_EQ(inChild([&] {
                  fs::current_path(folder);
                  return useLibrary("farm/libpconv.so.0");
              }),
              "");
}

TEST(HostLoading, WithoutModulesTheFolderSearchedIsNamed) {
    const fs::path folder = emptyFolder();
    fs::copy_file(kLibrary, folder / "libpconv.so.0");
    const std::string words = inChild([&] {
        fs::current_path(folder);
        return useLibrary("./libpconv.so.0");
    });
    EXPECT_NE(words.find("libpconv_cpu.so in " + fs::canonical(folder).string()), std::string::npos) << words;
}

// The loader reads LD_LIBRARY_PATH when a program starts: this one again.
TEST(HostLoading, ByARelativeLibraryPath) {
    if (std::getenv("PCONV_TEST_OPENS_BY_NAME") != nullptr) {
        EXPECT_EQ(useLibrary(kLibrary.filename().string()), "");
        return;
    }
    const std::string self = fs::read_symlink("/proc/self/exe").string();
    EXPECT_EQ(inChild([&]() -> std::string {
                  fs::current_path(kLibrary.parent_path().parent_path());
                  setenv("LD_LIBRARY_PATH", kLibrary.parent_path().filename().c_str(), 1);
                  setenv("PCONV_TEST_OPENS_BY_NAME", "1", 1);
                  const std::string command =
                      "'" + self + "' --gtest_filter=HostLoading.ByARelativeLibraryPath";
                  return std::system(command.c_str()) == 0 ? "" : "the program that was started failed";
              }),
              "");
}

}  // namespace
}  // namespace pconv::test
