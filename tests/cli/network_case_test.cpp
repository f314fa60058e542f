// `pconv run` on whole networks, answered by the reference modules in double.
#include <cmath>
#include <fstream>

#include "command.h"
#include "files/safetensors.h"
#include "pconv/pconv.hpp"
#include "support/devices.h"
#include "support/small_model.h"

namespace pconv::test {
namespace {

class NetworkCases : public CommandTest {
  protected:
    static std::string caseOf(const std::string& name) {
        return std::string(PCONV_TEST_NETWORKS) + "/" + name + ".safetensors";
    }

    static bool isPresent(const std::string& backend) {
        for (const PconvDeviceInfo& info : devices())
            if (info.backend == backend) return true;
        return false;
    }

    static std::string readFile(const std::string& name) {
        std::ifstream file(name, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    void expectAnswer(const std::string& name, const std::string& device,
                      const std::string& math = "exact") const {
        const Outcome outcome =
            runCommand({"run", caseOf(name), "-o", path("out"), "--device", device, "--math", math});
        ASSERT_TRUE(succeeds(outcome));
        SafetensorsReader expected(caseOf(name));
        SafetensorsReader result(path("out"));
        const auto doubles = [&](const std::string& tensor) {
            std::vector<double> values(static_cast<std::size_t>(expected.find(tensor)->elementCount()));
            expected.read(tensor, values.data());
            return values;
        };
        const auto wanted = doubles("expected.output");
        ASSERT_EQ(result.find("output")->shape, expected.find("expected.output")->shape);
        const auto got = result.readF32("output");
        double largest = 0;
        for (const double y : wanted) largest = std::max(largest, std::abs(y));
        // Transforms round by ten times as much.
        const double bound =
            2 * doubles("reference_error.output")[0] + (math == "fast" ? 2e-5 : 2e-6) * largest;
        double worst = 0;
        for (std::size_t i = 0; i < got.size(); ++i)
            worst = std::max(worst, std::abs(static_cast<double>(got[i]) - wanted[i]));
        EXPECT_LE(worst, bound);
        if (expected.find("expected.mask") == nullptr) {
            EXPECT_EQ(result.find("mask"), nullptr);
            return;
        }
        const auto mask = doubles("expected.mask");
        ASSERT_EQ(result.find("mask")->shape, expected.find("expected.mask")->shape);
        const auto updated = result.readF32("mask");
        EXPECT_EQ(std::vector<double>(updated.begin(), updated.end()), mask);
    }
};

TEST_F(NetworkCases, UNetsOnTheCpu) {
    for (const char* name : {"unet-5-64-96-stroke", "unet-7-128-128-stroke", "paper-4-64-64-random",
                             "paper-5-96-64-stroke", "mmagic-5-64-96-stroke", "keras-4-48-64"}) {
        SCOPED_TRACE(name);
        expectAnswer(name, "cpu");
    }
}

TEST_F(NetworkCases, ClassifiersOnTheCpu) {
    for (const char* name : {"pdresnet18-10", "pdresnet50-10"}) {
        SCOPED_TRACE(name);
        expectAnswer(name, "cpu");
    }
}

TEST_F(NetworkCases, FastMathOnTheCpu) {
    const bool transforms = rowNamed("cpu:onednn") != nullptr;
    for (const char* name : {"unet-7-128-128-stroke", "mmagic-5-64-96-stroke", "pdresnet18-10"}) {
        SCOPED_TRACE(name);
        expectAnswer(name, "cpu", "exact");
        const std::string exact = readFile(path("out"));
        expectAnswer(name, "cpu", "fast");
        EXPECT_EQ(readFile(path("out")) != exact, transforms);
    }
}

// Half a gigabyte of weights.
TEST_F(NetworkCases, LargeOnesOnTheCpu) {
    expectAnswer("pdvgg11_bn-10", "cpu");
}

TEST_F(NetworkCases, UNetsAndOneClassifierOnVulkan) {
    if (!isPresent("vulkan")) GTEST_SKIP() << "there is no Vulkan device";
    for (const char* name : {"unet-5-64-96-stroke", "unet-7-128-128-stroke", "paper-4-64-64-random",
                             "paper-5-96-64-stroke", "keras-4-48-64", "pdresnet18-10"}) {
        SCOPED_TRACE(name);
        expectAnswer(name, "vulkan");
    }
}

// What the library makes of the same, from C++.
TEST_F(NetworkCases, ModelFilesRunOnTensors) {
    constexpr uint64_t kHeight = 12;
    constexpr uint64_t kWidth = 16;
    const auto plane = static_cast<std::size_t>(kHeight * kWidth);
    std::vector<float> input(2 * 3 * plane);
    std::vector<float> mask(2 * plane);
    for (std::size_t i = 0; i < input.size(); ++i) input[i] = std::sin(0.37F * static_cast<float>(i));
    for (std::size_t i = 0; i < mask.size(); ++i) mask[i] = i % 7 < 4 || i % 5 == 0 ? 1 : 0;
    writeSmallModel(path("model.safetensors"));
    const auto runWith = [&](const std::vector<SafetensorsOutput>& tensors) {
        AtomicFile file(path("in.safetensors"));
        writeSafetensors(file, tensors, {});
        file.commit();
        return runCommand({"run", path("in.safetensors"), "--model", path("model.safetensors"), "-o",
                           path("out"), "--device", "cpu"});
    };
    const SafetensorsOutput features{"input", "F32", {2, 3, kHeight, kWidth}, input.data()};
    ASSERT_TRUE(succeeds(runWith({features, {"mask", "F32", {2, 1, kHeight, kWidth}, mask.data()}})));

    const Device device("cpu");
    const Model model = Model::load(path("model.safetensors"));
    PconvNetworkDesc desc = model.networkDesc();
    desc.batch = desc.mask_batch = 2;
    desc.size[0] = kHeight;
    desc.size[1] = kWidth;
    const Network network(device, desc);
    network.loadWeights(path("model.safetensors"));
    const Tensor in(device, {2, 3, kHeight, kWidth}, input);
    const Tensor valid(device, {2, 1, kHeight, kWidth}, std::vector<uint8_t>(mask.begin(), mask.end()));
    const Tensor out(device, {2, 3, kHeight, kWidth});
    network.forward(in.view(), valid.view(), out.view());
    SafetensorsReader result(path("out"));
    EXPECT_EQ(result.readF32("output"), out.read<float>());
    EXPECT_EQ(result.find("mask")->shape, (std::vector<std::uint64_t>{2, 1, kHeight, kWidth}));

    const auto expect = [&](const std::vector<SafetensorsOutput>& tensors, const char* part) {
        std::filesystem::remove(path("out"));
        EXPECT_TRUE(failsWith(runWith(tensors), 2, part));
        EXPECT_EQ(files(), "in.safetensors model.safetensors");
    };
    expect({features}, "no tensor 'mask'");
    expect({{"mask", "F32", {1, 1, kHeight, kWidth}, mask.data()}}, "no tensor 'input'");
    expect({features, {"mask", "F32", {1, 1, kWidth, kHeight}, mask.data()}}, "mask is not of the input's");
    expect({{"input", "F32", {3, 2, kHeight, kWidth}, input.data()}}, "'input' has 2 channels; expected 3");
    expect({{"input", "F32", {2 * 3, kHeight, kWidth}, input.data()}}, "input has 3 dimensions");
}

// The mask behind a concatenation is the one part's and the other's, picture by picture; the input's own
// lives until it is read.
TEST_F(NetworkCases, TheOutputsMaskMayBeTheInputs) {
    std::string json = kSmallModel;
    const std::size_t last = json.find("\n{\"type\":\"partial_conv\",\"name\":\"dec1\"");
    ASSERT_NE(last, std::string::npos);
    writeSmallModel(path("model.safetensors"), json.substr(0, last - 1) + "]}");
    const std::vector<float> input(2 * 3 * 64, 1.0F);
    std::vector<float> mask(2 * 64, 1.0F);
    for (std::size_t i = 0; i < 40; ++i) mask[64 + i] = 0;
    AtomicFile file(path("in.safetensors"));
    writeSafetensors(
        file, {{"input", "F32", {2, 3, 8, 8}, input.data()}, {"mask", "F32", {2, 1, 8, 8}, mask.data()}}, {});
    file.commit();
    ASSERT_TRUE(succeeds(runCommand({"run", path("in.safetensors"), "--model", path("model.safetensors"),
                                     "-o", path("out"), "--device", "cpu"})));
    SafetensorsReader result(path("out"));
    const std::vector<std::uint64_t> shape = result.find("mask")->shape;
    ASSERT_EQ(shape.size(), 4U);
    ASSERT_EQ(shape[0], 2U);
    const std::size_t of_one = shape[1] * 64;
    const std::vector<float> planes = result.readF32("mask");
    ASSERT_EQ(planes.size(), 2 * of_one);
    // The last plane of each picture is of the input.
    for (std::size_t n = 0; n < 2; ++n)
        for (std::size_t i = 0; i < 64; ++i)
            ASSERT_EQ(planes[(n + 1) * of_one - 64 + i], mask[n * 64 + i]) << n << ' ' << i;
}

TEST_F(NetworkCases, FaultsAreNamed) {
    const std::string whole = readFile(caseOf("paper-4-64-64-random"));
    const auto changed = [&](const std::string& from, const std::string& to) {
        std::string bytes = whole;
        const std::size_t at = bytes.find(from);
        EXPECT_NE(at, std::string::npos) << from;
        EXPECT_EQ(from.size(), to.size());
        bytes.replace(at, from.size(), to);
        write("changed.safetensors", bytes);
        return runCommand({"run", path("changed.safetensors"), "-o", path("out")});
    };
    const auto expect = [&](const std::string& from, const std::string& to, const std::string& part) {
        EXPECT_TRUE(failsWith(changed(from, to), 2, part));
        EXPECT_EQ(files(), "changed.safetensors");
    };
    expect("\"paper_unet\"", "\"paper_onet\"", "no network is called 'paper_onet'");
    expect("\"layers\":\"4\"", "\"layers\":\"x\"", "layers is 'x'; expected a whole number of at least 1");
    expect("\"layers\":\"4\"", "\"layers\":\"5\"", "there is no tensor 'enc5.weight'");
    expect("\\\"enc2.weight\\\"", "\\\"enc9.weight\\\"",
           "there is no tensor 'enc2.weight' of shape [128, 64, 5, 5]");
    expect("[64, 3, 7, 7]", "[64, 3, 7, 6]",
           "tensor 'enc1.weight' has another shape; expected [64, 3, 7, 7]");
    expect("\"mask\":", "\"musk\":", "no tensor 'mask'");
    EXPECT_TRUE(
        failsWith(runCommand({"run", caseOf("paper-4-64-64-random"), "-o", path("out"), "--backward"}), 2,
                  "--backward"));
}

}  // namespace
}  // namespace pconv::test
