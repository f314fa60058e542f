// The pipeline cache on disk: found again, refused where damaged, never in the way.
#include <filesystem>
#include <fstream>
#include <random>

#include "platform/cache_file.h"
#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

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

    std::filesystem::path folder_;
};

TEST_F(VulkanCache, IsKeptForTheNextRunAndRebuiltWhereDamaged) {
    const test::ScopedEnvironment chosen("PCONV_CACHE_DIR", folder_.string());
    const std::vector<float> expected = run();
    ASSERT_EQ(files().size(), 1U);  // and no temporary left
    const std::filesystem::path path = files().front();
    EXPECT_FALSE(platform::readCacheFile(path.string()).empty());

    for (const std::string& damage : {std::string(), std::string(5000, '\xFF')}) {
        std::ofstream(path, std::ios::binary | std::ios::trunc) << damage;
        EXPECT_EQ(run(), expected);
        ASSERT_EQ(files().size(), 1U);
        EXPECT_FALSE(platform::readCacheFile(path.string()).empty()) << "not rebuilt";
    }

    const std::string foreign(64, '\xAB');  // a whole file, but not this driver's
    ASSERT_TRUE(platform::writeCacheFile(path.string(), foreign));
    EXPECT_EQ(run(), expected);
    EXPECT_NE(platform::readCacheFile(path.string()), foreign) << "not rebuilt";
}

TEST_F(VulkanCache, APlaceThatCannotHoldItIsNoFault) {
    const std::vector<float> expected = run();
    const std::filesystem::path file = folder_ / "file";
    std::ofstream(file) << "not a folder";
    const test::ScopedEnvironment chosen("PCONV_CACHE_DIR", (file / "below").string());
    EXPECT_EQ(run(), expected);
}

}  // namespace

}  // namespace pconv::vulkan
