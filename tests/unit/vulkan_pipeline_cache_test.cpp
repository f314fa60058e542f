// The pipeline cache on disk: found again, refused where damaged, never in the way.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

TEST(WrappedCache, ComesBackAsItWas) {
    for (const size_t size : {size_t{0}, size_t{1}, size_t{100000}}) {
        std::vector<uint8_t> data(size);
        for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>(i * 7);
        EXPECT_EQ(unwrapCache(wrapCache(data)), data);
    }
}

TEST(WrappedCache, DamageOfAnyByteOrLengthIsSeen) {
    const std::vector<uint8_t> file = wrapCache({1, 2, 3, 4, 5, 6, 7, 8});
    for (size_t i = 0; i < file.size(); ++i) {
        std::vector<uint8_t> damaged = file;
        damaged[i] ^= 0x10;
        EXPECT_TRUE(unwrapCache(damaged).empty()) << "byte " << i;
        damaged = file;
        damaged.resize(i);
        EXPECT_TRUE(unwrapCache(damaged).empty()) << "cut to " << i;
    }
    std::vector<uint8_t> longer = file;
    longer.push_back(0);
    EXPECT_TRUE(unwrapCache(longer).empty());
}

class VulkanCache : public VulkanTest {
  protected:
    void SetUp() override {
        VulkanTest::SetUp();
        folder_ = std::filesystem::path(::testing::TempDir()) /
                  ("pconv-cache-" + std::to_string(std::random_device{}()));
        std::filesystem::create_directories(folder_);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::vector<float> run() { return runConvolution(*open(), vulkanDirect(), squareDesc(1, 2, 3, 9), 5); }
    std::vector<std::filesystem::path> files() const {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) found.push_back(entry.path());
        return found;
    }
    static std::vector<uint8_t> contents(const std::filesystem::path& path) {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }

    std::filesystem::path folder_;
};

TEST_F(VulkanCache, IsKeptForTheNextRunAndRebuiltWhereDamaged) {
    const Variable chosen("PCONV_CACHE_DIR", folder_.string());
    const std::vector<float> expected = run();
    ASSERT_EQ(files().size(), 1U);  // and no temporary left
    const std::filesystem::path path = files().front();
    EXPECT_FALSE(unwrapCache(contents(path)).empty());

    const std::vector<uint8_t> good = contents(path);
    const std::vector<std::vector<uint8_t>> damages{
        {},
        {1, 2, 3},
        {good.begin(), good.end() - 1},
        std::vector<uint8_t>(5000, 0xFF),
        wrapCache(std::vector<uint8_t>(64, 0xAB)),  // whole, but not this driver's
    };
    for (const std::vector<uint8_t>& damage : damages) {
        std::ofstream(path, std::ios::binary | std::ios::trunc)
            .write(reinterpret_cast<const char*>(damage.data()), static_cast<std::streamsize>(damage.size()));
        EXPECT_EQ(run(), expected);
        ASSERT_EQ(files().size(), 1U);
        EXPECT_FALSE(unwrapCache(contents(path)).empty()) << "not rebuilt";
    }
}

TEST_F(VulkanCache, APlaceThatCannotHoldItIsNoFault) {
    const std::vector<float> expected = run();
    const std::filesystem::path file = folder_ / "file";
    std::ofstream(file) << "not a folder";
    const Variable chosen("PCONV_CACHE_DIR", (file / "below").string());
    EXPECT_EQ(run(), expected);
}

TEST(CacheFolder, FollowsTheEnvironment) {
    const Variable chosen("PCONV_CACHE_DIR", "/somewhere/else");
    EXPECT_EQ(cacheFolder(), "/somewhere/else");
}

}  // namespace

}  // namespace pconv::vulkan
