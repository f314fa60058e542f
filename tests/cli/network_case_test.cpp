// `pconv run` on whole networks, answered by the reference modules in double.
#include <cmath>
#include <fstream>

#include "command.h"
#include "files/safetensors.h"
#include "pconv/pconv.hpp"

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

    void expectAnswer(const std::string& name, const std::string& device) const {
        const Outcome outcome = runCommand({"run", caseOf(name), "-o", path("out"), "--device", device});
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
        const double bound = 2 * doubles("reference_error.output")[0] + 2e-6 * largest;
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
    for (const char* name :
         {"unet-5-64-96-stroke", "unet-7-128-128-stroke", "paper-4-64-64-random", "paper-5-96-64-stroke"}) {
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

// Half a gigabyte of weights.
TEST_F(NetworkCases, LargeOnesOnTheCpu) {
    expectAnswer("pdvgg11_bn-10", "cpu");
}

TEST_F(NetworkCases, UNetsAndOneClassifierOnVulkan) {
    if (!isPresent("vulkan")) GTEST_SKIP() << "there is no Vulkan device";
    for (const char* name : {"unet-5-64-96-stroke", "unet-7-128-128-stroke", "paper-4-64-64-random",
                             "paper-5-96-64-stroke", "pdresnet18-10"}) {
        SCOPED_TRACE(name);
        expectAnswer(name, "vulkan");
    }
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
