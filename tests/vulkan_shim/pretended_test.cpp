// The backend on devices that this machine does not have: few workgroups a dimension, small heaps, few
// bindings, a slow clock.
#include <algorithm>
#include <cmath>
#include <functional>

#include "unit/vulkan_fixture.h"
#include "vulkan/window.h"

namespace pconv::vulkan {

namespace {

using test::ScopedEnvironment;
using Environment = std::vector<std::pair<const char*, const char*>>;

class Pretended : public VulkanTest {
  protected:
    std::unique_ptr<VulkanDevice> openWith(const Environment& environment) {
        std::vector<std::unique_ptr<ScopedEnvironment>> held;
        for (const auto& [name, value] : environment)
            held.push_back(std::make_unique<ScopedEnvironment>(name, value));
        return open();
    }
};

TEST_F(Pretended, AGpuPrefersProductsWhereTheirTilesFill) {
    const auto software = open();
    const auto gpu = openWith({{"PCONV_SHIM_GPU", "1"}});
    ASSERT_EQ(gpu->info().type, DeviceType::discrete_gpu);
    EXPECT_EQ(software->preferredFor(squareDesc(1, 16, 64, 8)).front(), &vulkanDirect());
    const auto rows = gpu->preferredFor(squareDesc(1, 16, 64, 8));
    EXPECT_EQ(rows.front(), &vulkanCoopmat()) << "which declines f32";
    EXPECT_EQ(rows.at(1), &vulkanGemm());
    EXPECT_EQ(gpu->preferredFor(squareDesc(1, 16, 7, 8)).front(), &vulkanDirect());
    PartialConvDesc depthwise = squareDesc(1, 64, 64, 8);
    depthwise.groups = 64;
    EXPECT_EQ(gpu->preferredFor(depthwise).front(), &vulkanDirect());
    std::string reason;
    for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()})
        EXPECT_TRUE(row->supports(*gpu, depthwise, reason)) << row->name() << ": " << reason;
    EXPECT_FALSE(vulkanCoopmat().supports(*gpu, depthwise, reason));
    EXPECT_NE(reason, "");
}

TEST_F(Pretended, ComputesTheSame) {
    for (const Implementation* row : {&vulkanDirect(), &vulkanGemm()}) {
        const PartialConvDesc desc = squareDesc(2, 5, 9, 17);
        const auto expected = runConvolution(*open(), *row, desc, 3);
        EXPECT_EQ(runConvolution(*openWith({{"PCONV_SHIM_GPU", "1"}}), *row, desc, 3), expected)
            << row->name();
    }
}

// A software device takes the tiles that the channels fill, a GPU smaller ones for so few outputs.
TEST_F(Pretended, TilesOfEverySizeComputeTheSame) {
    for (const char* gpu : {"0", "1"})
        for (const int64_t channels : {int64_t{11}, int64_t{30}, int64_t{64}, int64_t{131}}) {
            const auto device = openWith({{"PCONV_SHIM_GPU", gpu}});
            const PartialConvDesc desc = squareDesc(2, 7, channels, 13);
            const auto expected = runConvolution(*device, vulkanDirect(), desc, 5);
            const auto got = runConvolution(*device, vulkanGemm(), desc, 5);
            ASSERT_EQ(got.size(), expected.size());
            for (size_t i = 0; i < got.size(); ++i)
                ASSERT_NEAR(got[i], expected[i], 1e-4F)
                    << channels << " channels, element " << i << ", GPU " << gpu;
        }
}

// Packing needs more workgroups than one dimension takes: 2048 channels 7x7 in blocks of 64 are 98,000 of
// them.
TEST_F(Pretended, BlocksOfWeightsArePackedBeyondOneDimensionOfAGrid) {
    const auto gpu = openWith({{"PCONV_SHIM_GPU", "1"}});
    PartialConvDesc desc = squareDesc(1, 1400, 64, 1);
    desc.window.kernel = {1, 7, 7};
    desc.window.padding = {0, 3, 3};
    ASSERT_GT(1400 * 49, 65535);
    const auto row = &vulkanGemm();
    const auto got = runConvolution(*gpu, *row, desc, 3);
    const auto expected = runConvolution(*open(), *row, desc, 3);
    ASSERT_EQ(got.size(), expected.size());
    float largest = 0;
    for (const float value : expected) largest = std::max(largest, std::abs(value));
    // A GPU cuts the depth into more parts, which are added in another order.
    for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 1e-5F * largest) << i;
}

TEST(FlatGrid, HasRoomForAllAndNoMoreThanADimensionTakes) {
    PlanLimits limits;
    limits.max_groups = {65535, 65535, 65535};
    for (const int64_t groups :
         {int64_t{1}, int64_t{65535}, int64_t{65536}, int64_t{100353}, int64_t{1} << 26}) {
        const auto grid = limits.flatGrid(groups);
        EXPECT_GE(int64_t{grid[0]} * grid[1], groups);
        EXPECT_LT(int64_t{grid[0]} * grid[1], groups + 65535);
        EXPECT_LE(std::max(grid[0], grid[1]), 65535U);
    }
}

TEST_F(Pretended, WhatDoesNotFitIntoTheDevicesHeapGoesToAnother) {
    const auto gpu = openWith({{"PCONV_SHIM_GPU", "1"}, {"PCONV_SHIM_DEVICE_HEAP", "60000000"}});
    std::vector<std::shared_ptr<VulkanBuffer>> buffers;
    std::vector<std::vector<float>> contents;
    for (unsigned i = 0; i < 8; ++i) {
        contents.push_back(randomValues(size_t{4} << 20, i));
        buffers.push_back(gpu->createTable(contents.back()));
    }
    for (size_t i = 0; i < buffers.size(); ++i) {
        std::vector<float> got(contents[i].size());
        gpu->read(*buffers[i], 0, got.data(), got.size() * sizeof(float));
        EXPECT_TRUE(got == contents[i]) << i;
    }
}

TEST_F(Pretended, FewStorageBuffersAreDeclinedWithTheReason) {
    const auto device = openWith({{"PCONV_SHIM_STORAGE_BUFFERS", "4"}});
    for (const Implementation* row : device->implementations()) {
        std::string reason;
        EXPECT_FALSE(row->supports(*device, squareDesc(1, 4, 4, 8), reason));
        EXPECT_EQ(reason, "the device binds 4 storage buffers at once; 8 are needed");
    }
    MaskedNormDesc norm;
    norm.batch = norm.channels = 1;
    norm.size = {1, 4, 4};
    EXPECT_THROW(device->makeMaskedBatchNorm(norm), Error);
}

std::string faultOf(const std::function<void()>& call) {
    try {
        call();
    } catch (const Error& error) {
        return error.what();
    }
    return "none";
}

// Asked of the driver before anything is made: whoever does not import must not be handed the memory.
TEST_F(Pretended, MemoryThatADriverDoesNotImportIsRefusedInALine) {
    const std::pair<const char*, std::string> kinds[] = {
        {"1", "this device's driver imports no such memory for storage buffers"},
        {"2", "this device's driver imports only memory of one VkBuffer alone (memory->dedicated)"}};
    for (const auto& [kind, line] : kinds) {
        const std::unique_ptr<VulkanDevice> device = openWith({{"PCONV_SHIM_NO_IMPORT", kind}});
        ExternalMemory memory;
        memory.size = 4096;
        if (device->capabilities().import_external) {
            EXPECT_EQ(faultOf([&] { device->importExternal(memory, 4096); }), line);
        }
        // Host memory is always one buffer's alone.
        alignas(4096) static char host[4096];
        if (device->capabilities().import_alignment != 0) {
            EXPECT_EQ(faultOf([&] { device->importHost(host, sizeof host); }), *kind == '1' ? line : "none");
        }
    }
}

// The same submissions, of which the clock says that they take no time or hours.
TEST_F(Pretended, SubmissionsGrowWhereTheClockSaysThatTheDeviceIsFast) {
    const auto capAfterSome = [&](const char* nanoseconds) {
        const auto gpu = openWith({{"PCONV_SHIM_GPU", "1"}, {"PCONV_SHIM_TIMESTAMP_PERIOD", nanoseconds}});
        const Pipeline& nothing = gpu->pipelines().get("give_gradient_f32", {{SPEC_LANES, 64}});
        const auto buffer = gpu->createBuffer(256);
        const std::array<int32_t, 9> push{};
        Stream& stream = gpu->stream();
        for (int i = 0; i < 12; ++i) {
            stream.beginOperation();
            stream.use(*buffer);
            stream.dispatch(nothing, {gpu->bindWhole(*buffer), gpu->bindWhole(*buffer)}, push.data(),
                            sizeof push, {1, 1, 1}, stream.pace().cap());
            stream.endOperation();
            gpu->wait();
        }
        return std::make_pair(stream.pace().cap(), gpu->capabilities());
    };
    const auto [fast, capabilities] = capAfterSome("1");
    EXPECT_EQ(fast, capabilities.most_submission_work);
    EXPECT_EQ(capAfterSome("1000000000").first, capabilities.max_work);
}

}  // namespace

}  // namespace pconv::vulkan
