// Cache files: whole or absent, whatever happened to them.
#include "platform/cache_file.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

namespace pconv::platform {

namespace {

class CacheFile : public ::testing::Test {
  protected:
    void SetUp() override {
        folder_ = std::filesystem::path(::testing::TempDir()) /
                  ("pconv-cache-" + std::to_string(std::random_device{}()));
        path_ = (folder_ / "below" / "file").string();
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    void put(const std::string& bytes) const {
        std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
    }
    std::string bytes() const {
        std::ifstream file(path_, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

    std::filesystem::path folder_;
    std::string path_;
};

TEST_F(CacheFile, ComesBackAsItWas) {
    EXPECT_EQ(readCacheFile(path_), "");
    for (const size_t size : {size_t{100000}, size_t{1}, size_t{0}}) {
        std::string content(size, '\0');
        for (size_t i = 0; i < size; ++i) content[i] = static_cast<char>(i * 7);
        ASSERT_TRUE(writeCacheFile(path_, content));
        EXPECT_EQ(readCacheFile(path_), content);
    }
    const auto beside = std::filesystem::directory_iterator(folder_ / "below");
    EXPECT_EQ(std::distance(begin(beside), end(beside)), 1) << "a temporary file is left";
}

TEST_F(CacheFile, DamageOfAnyByteOrLengthIsSeen) {
    ASSERT_TRUE(writeCacheFile(path_, "what was kept"));
    const std::string whole = bytes();
    for (size_t i = 0; i < whole.size(); ++i) {
        std::string damaged = whole;
        damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
        put(damaged);
        EXPECT_EQ(readCacheFile(path_), "") << "byte " << i;
        put(whole.substr(0, i));
        EXPECT_EQ(readCacheFile(path_), "") << "cut to " << i;
    }
    put(whole + "x");
    EXPECT_EQ(readCacheFile(path_), "");
    put(whole);
    EXPECT_EQ(readCacheFile(path_), "what was kept");
}

TEST_F(CacheFile, APlaceThatCannotHoldItIsNoFault) {
    std::filesystem::create_directories(folder_);
    std::ofstream(folder_ / "below") << "not a folder";
    EXPECT_FALSE(writeCacheFile(path_, "content"));
    EXPECT_EQ(readCacheFile(path_), "");
}

#if !defined(_WIN32)
TEST(CacheFolder, FollowsTheEnvironment) {
    ASSERT_EQ(setenv("PCONV_CACHE_DIR", "/somewhere/else", 1), 0);
    EXPECT_EQ(cacheFolder(), "/somewhere/else");
    ASSERT_EQ(unsetenv("PCONV_CACHE_DIR"), 0);
    ASSERT_EQ(setenv("XDG_CACHE_HOME", "/caches", 1), 0);
    EXPECT_EQ(cacheFolder(), "/caches/pconv");
    ASSERT_EQ(setenv("XDG_CACHE_HOME", "relative", 1), 0);
    ASSERT_EQ(setenv("HOME", "/home/someone", 1), 0);
    EXPECT_EQ(cacheFolder().rfind("/home/someone/", 0), 0U);
}
#endif

}  // namespace

}  // namespace pconv::platform
