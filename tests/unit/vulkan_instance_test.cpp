// No loader, no driver, no validation layer: no device, and the reason in a line. Under validation: no
// message.
#include "vulkan_fixture.h"

namespace pconv::vulkan {

namespace {

#if defined(_WIN32)
constexpr char kLibraryOfAnotherKind[] = "kernel32.dll";
#else
constexpr char kLibraryOfAnotherKind[] = "libm.so.6";
#endif

TEST(VulkanLoader, AMissingOneIsAReason) {
    const test::ScopedEnvironment loader("PCONV_VULKAN_LOADER", "/nonexistent/libvulkan.so.1");
    std::string reason;
    EXPECT_EQ(Instance::create(reason), nullptr);
    EXPECT_EQ(reason.find("no Vulkan loader"), 0U) << reason;
    EXPECT_EQ(reason.find('\n'), std::string::npos);
}

TEST(VulkanLoader, ALibraryThatIsNoneIsAReason) {
    const test::ScopedEnvironment loader("PCONV_VULKAN_LOADER", kLibraryOfAnotherKind);
    std::string reason;
    EXPECT_EQ(Instance::create(reason), nullptr);
    EXPECT_EQ(reason, "the Vulkan loader has no vkGetInstanceProcAddr");
}

TEST(VulkanLoader, NoDriverIsAReason) {
    const test::ScopedEnvironment old_name("VK_ICD_FILENAMES", "/nonexistent/driver.json");
    const test::ScopedEnvironment new_name("VK_DRIVER_FILES", "/nonexistent/driver.json");
    std::string reason;
    EXPECT_EQ(Instance::create(reason), nullptr);
    EXPECT_FALSE(reason.empty());
}

using VulkanDevices = VulkanTest;

TEST_F(VulkanDevices, SayWhatTheyAre) {
    std::string reason;
    const auto instance = Instance::create(reason);
    for (VkPhysicalDevice physical : instance->devices()) {
        const Capabilities capabilities = queryCapabilities(instance->api(), physical);
        EXPECT_FALSE(capabilities.info.name.empty());
        EXPECT_GT(capabilities.info.memory_bytes, 0U);
        EXPECT_NE(capabilities.info.features.find("vulkan-1."), std::string::npos);
        EXPECT_GE(capabilities.max_range, size_t{1} << 27);
    }
}

class VulkanValidation : public VulkanTest {
  protected:
    void SetUp() override {
#if defined(__SANITIZE_ADDRESS__)
        GTEST_SKIP() << "the validation layer itself leaks";
#else
        VulkanTest::SetUp();
#endif
    }

  private:
    const test::ScopedEnvironment validation_{"PCONV_VULKAN_VALIDATION", "1"};
};

TEST_F(VulkanValidation, FaultsAreReported) {
    const auto device = open();
    try {
        device->stream().beginOperation();
        const auto buffer = device->createBuffer(256);
        device->stream().fill(*buffer, 3, 0);  // not a multiple of 4
        device->stream().endOperation();
        device->wait();
        FAIL() << "validation said nothing";
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("validation layer"), std::string::npos) << error.what();
    }
}

TEST_F(VulkanValidation, MissingSynchronizationIsReported) {
    const auto device = open();
    const auto buffer = device->createBuffer(256);
    device->stream().beginOperation();
    device->stream().use(*buffer);
    device->stream().fill(*buffer, 256, 0);
    device->stream().fill(*buffer, 256, 1);  // no barrier between
    device->stream().endOperation();
    EXPECT_THROW(device->wait(), Error);
}

TEST_F(VulkanValidation, EveryKernelRunsWithoutAMessage) {
    const auto device = open();
    for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()}) {
        runConvolution(*device, *row, squareDesc(2, 5, 7, 13), 3);
        PartialConvDesc multi = squareDesc(1, 6, 4, 9);
        multi.groups = 2;
        multi.multi_channel = multi.group_window = true;
        runConvolution(*device, *row, multi, 4);
    }
    EXPECT_NO_THROW(device->wait());
}

TEST_F(VulkanValidation, StagedAndSplitWorkRunsWithoutAMessage) {
    const test::ScopedEnvironment staging("PCONV_VULKAN_STAGING", "1");
    const test::ScopedEnvironment range("PCONV_VULKAN_MAX_RANGE", "70000");
    const auto device = open();
    for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()})
        runConvolution(*device, *row, squareDesc(1, 16, 8, 128), 5);
    EXPECT_NO_THROW(device->wait());
}

}  // namespace

}  // namespace pconv::vulkan
