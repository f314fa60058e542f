// `pconv run`: the cases of the reference modules, and files that are at fault.
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "command.h"
#include "files/safetensors.h"

namespace pconv::test {
namespace {

namespace fs = std::filesystem;

struct CaseTensor {
    std::string type = "F32";
    std::vector<std::uint64_t> shape;
    std::vector<float> values;
};

/// A case that is sound, to be made faulty in one respect.
struct TestCase {
    std::map<std::string, CaseTensor> tensors;
    std::map<std::string, std::string> metadata;

    static TestCase sound() {
        TestCase work;
        work.tensors["input"] = {"F32", {1, 2, 5, 5}, std::vector<float>(50, 1)};
        work.tensors["weight"] = {"F32", {4, 2, 3, 3}, std::vector<float>(72, 1)};
        work.tensors["bias"] = {"F32", {4}, {1, 2, 3, 4}};
        work.tensors["mask"] = {"F32", {1, 1, 5, 5}, std::vector<float>(25, 1)};
        work.metadata = {{"op", "partial_conv"}, {"padding", "1,1"}};
        return work;
    }

    void save(const std::string& path) const {
        std::vector<SafetensorsOutput> outputs;
        std::vector<std::vector<double>> wide;  // so that no move of it moves the data
        wide.reserve(tensors.size());
        for (const auto& [name, tensor] : tensors) {
            const void* data = tensor.values.data();
            if (tensor.type == "F64") {
                wide.emplace_back(tensor.values.begin(), tensor.values.end());
                data = wide.back().data();
            }
            outputs.push_back({name, tensor.type, tensor.shape, data});
        }
        AtomicFile file(path);
        writeSafetensors(file, outputs, metadata);
        file.commit();
    }
};

class RunCommand : public CommandTest {
  protected:
    Outcome runOn(const TestCase& work, const std::vector<std::string>& more = {"--device", "cpu"}) const {
        work.save(path("case"));
        std::vector<std::string> arguments = {"run", path("case"), "-o", path("out")};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return runCommand(arguments);
    }
};

std::vector<double> expectedValues(SafetensorsReader& reader, const std::string& name) {
    std::vector<double> values(static_cast<std::size_t>(reader.find(name)->elementCount()));
    reader.read(name, values.data());
    return values;
}

TEST_F(RunCommand, ComputesEveryCaseOfTheReferences) {
    int computed = 0;
    for (const auto& entry : fs::directory_iterator(PCONV_TEST_CASES)) {
        const Outcome outcome = runCommand({"run", entry.path().string(), "-o", path("out"), "--device",
                                            "cpu", "--impl", "cpu:reference", "--backward"});
        ASSERT_TRUE(succeeds(outcome)) << entry.path();
        SafetensorsReader expected(entry.path());
        SafetensorsReader result(path("out"));
        EXPECT_EQ(result.metadata().at("implementation"), "cpu:reference");
        for (const std::string name : {"output", "mask", "grad_input", "grad_weight", "grad_bias"}) {
            const SafetensorsTensor* const wanted = expected.find("expected." + name);
            ASSERT_EQ(result.find(name) != nullptr, wanted != nullptr) << entry.path() << ' ' << name;
            if (wanted == nullptr) continue;
            ASSERT_EQ(result.find(name)->shape, wanted->shape) << entry.path() << ' ' << name;
            const std::vector<double> exact = expectedValues(expected, "expected." + name);
            const std::vector<float> values = result.readF32(name);
            double largest = 0;
            for (const double value : exact) largest = std::max(largest, std::abs(value));
            // Beyond the sums, which are exact, some roundings to f32 of the ratio and the result.
            for (std::size_t i = 0; i < exact.size(); ++i) {
                ASSERT_NEAR(values[i], exact[i], 8 * std::ldexp(largest, -24))
                    << entry.path() << ' ' << name << i;
            }
        }
        ++computed;
        fs::remove(path("out"));
    }
    EXPECT_GE(computed, 67);
}

TEST_F(RunCommand, LeavesTheBackwardPassUnlessAsked) {
    TestCase work = TestCase::sound();
    EXPECT_TRUE(failsWith(runOn(work, {"--device", "cpu", "--backward"}), 2, "no tensor 'grad_output'"));
    EXPECT_EQ(files(), "case");
    ASSERT_TRUE(succeeds(runOn(work)));
    SafetensorsReader result(path("out"));
    EXPECT_EQ(result.tensors().size(), 2U);
    work.tensors["grad_output"] = {"F32", {1, 4, 5, 6}, std::vector<float>(120, 1)};
    EXPECT_TRUE(failsWith(runOn(work, {"--device", "cpu", "--backward"}), 2,
                          "'grad_output' is [1, 4, 5, 6]; expected [1, 4, 5, 5]"));
}

TEST_F(RunCommand, SettingsHaveDefaultsAndTheInputMayBeTheOutput) {
    TestCase work = TestCase::sound();
    work.metadata.clear();
    work.tensors.erase("mask");
    work.tensors.erase("bias");
    work.save(path("case"));
    EXPECT_TRUE(succeeds(runCommand({"run", path("case"), "-o", path("case"), "--device", "cpu"})));
    SafetensorsReader result(path("case"));
    EXPECT_EQ(result.find("output")->shape, (std::vector<std::uint64_t>{1, 4, 3, 3}));
    for (const float value : result.readF32("output")) EXPECT_EQ(value, 18.0F);
    EXPECT_EQ(result.readF32("mask"), std::vector<float>(9, 1.0F));
    EXPECT_EQ(files(), "case");
}

struct Fault {
    const char* name;
    std::function<void(TestCase&)> make;
    const char* part;
};

void PrintTo(const Fault& fault, std::ostream* out) {
    *out << fault.name;
}

std::function<void(TestCase&)> setting(const std::string& key, const std::string& value) {
    return [=](TestCase& work) { work.metadata[key] = value; };
}

std::function<void(TestCase&)> shape(const std::string& name, const std::vector<std::uint64_t>& dims) {
    return [=](TestCase& work) {
        std::size_t count = 1;
        for (const std::uint64_t size : dims) count *= static_cast<std::size_t>(size);
        work.tensors[name] = {"F32", dims, std::vector<float>(count, 1)};
    };
}

std::function<void(TestCase&)> maskValue(float value) {
    return [=](TestCase& work) { work.tensors["mask"].values[7] = value; };
}

const Fault kFaults[] = {
    {"NoInput", [](TestCase& work) { work.tensors.erase("input"); }, "no tensor 'input'"},
    {"NoWeight", [](TestCase& work) { work.tensors.erase("weight"); }, "no tensor 'weight'"},
    {"InputF64", [](TestCase& work) { work.tensors["input"].type = "F64"; },
     "'input' is F64; F32 is expected"},
    {"MaskF64", [](TestCase& work) { work.tensors["mask"].type = "F64"; }, "'mask' is F64; F32 is expected"},
    {"InputFlat", shape("input", {50}), "'input' is [50]"},
    {"InputEmpty", shape("input", {0, 2, 5, 5}), "'input' has a dimension of 0"},
    {"WeightOfOtherChannels", shape("weight", {4, 3, 3, 3}),
     "'weight' is [4, 3, 3, 3]; expected [4, 2, 3, 3]"},
    {"WeightRank", shape("weight", {4, 2, 3}), "'weight' is [4, 2, 3]"},
    {"BiasSize", shape("bias", {3}), "'bias' is [3]; expected [4]"},
    {"MaskSize", shape("mask", {1, 1, 5, 6}), "'mask' is [1, 1, 5, 6]; expected [1, 1, 5, 5]"},
    {"MaskBatch", shape("mask", {3, 1, 5, 5}), "'mask' is [3, 1, 5, 5]"},
    {"MaskChannels", shape("mask", {1, 2, 5, 5}), "'mask' is [1, 2, 5, 5]; expected [1, 1, 5, 5]"},
    {"MaskRank", shape("mask", {5, 5}), "'mask' is [5, 5]"},
    {"MaskOf255", maskValue(255), "'mask' has the value 255"},
    {"MaskNegative", maskValue(-1), "'mask' has the value -1"},
    {"MaskNaN", maskValue(std::numeric_limits<float>::quiet_NaN()), "'mask' has the value"},
    {"KernelLargerThanInput", setting("padding", "0,0"), ""},
    {"Op", setting("op", "conv"), "op is 'conv'; expected 'partial_conv' or 'masked_conv'"},
    {"StrideZero", setting("stride", "0,1"), "stride"},
    {"StrideNegative", setting("stride", "-1"), "stride"},
    {"StrideText", setting("stride", "two"), "stride is 'two'; expected 2 whole numbers"},
    {"StrideEmpty", setting("stride", ""), "stride is ''"},
    {"StrideTrailing", setting("stride", "1,1,"), "stride is '1,1,'"},
    {"StrideThree", setting("stride", "1,1,1"), "stride is '1,1,1'"},
    {"StrideHuge", setting("stride", "99999999999999999999"), "stride is '9999"},
    {"PaddingNegative", setting("padding", "-1,0"), "padding"},
    {"PaddingEndNegative", setting("padding_end", "-2,0"), "padding_end"},
    {"PaddingMode", setting("padding_mode", "mirror"), "'zeros', 'reflect', 'replicate' or 'circular'"},
    {"PaddingHuge", setting("padding", "4611686018427387904"), "padding"},
    {"DilationZero", setting("dilation", "0"), "dilation"},
    {"DilationTooWide", setting("dilation", "9"), ""},
    {"GroupsZero", setting("groups", "0"), "groups is 0"},
    {"GroupsNegative", setting("groups", "-2"), "groups is -2"},
    {"GroupsUneven", setting("groups", "3"), "groups is 3"},
    {"Kernel", setting("kernel", "5,5"), "kernel is '5,5'; expected [3, 3]"},
    {"InChannels", setting("in_channels", "7"), "in_channels is '7'; expected 2"},
    {"OutChannels", setting("out_channels", "7"), "out_channels is '7'; expected 4"},
    {"SpatialDims4", setting("spatial_dims", "4"), "spatial_dims is '4'; expected 1, 2 or 3"},
    {"SpatialDims3", setting("spatial_dims", "3"), "'input' is [1, 2, 5, 5]"},
    {"MultiChannel", setting("multi_channel", "yes"), "multi_channel is 'yes'; expected 'false' or 'true'"},
    {"MaskWindow", setting("mask_window", "x"), "mask_window is 'x'"},
    {"Normalization", setting("normalization", "x"),
     "normalization is 'x'; expected 'window_ratio' or 'mask_sum'"},
    {"NormalizationOfMaskedConv", setting("normalization", "weight_magnitude"),
     "expected 'window_ratio' or 'mask_sum'"},
    {"NormalizationOfPartialConv",
     [](TestCase& work) { work.metadata["op"] = "masked_conv", work.metadata["normalization"] = "mask_sum"; },
     "normalization is 'mask_sum'; expected 'weight_magnitude'"},
    {"MaskedConvOfEvenKernel",
     [](TestCase& work) {
         work.metadata["op"] = "masked_conv", shape("weight", {4, 2, 2, 2})(work);
     },
     "kernel"},
    {"EpsText", setting("eps", "small"), "eps is 'small'"},
    {"EpsTrailing", setting("eps", "1e-8x"), "eps is '1e-8x'"},
    {"EpsNaN", setting("eps", "nan"), "eps"},
    {"EpsNegative", setting("eps", "-1"), "eps"},
};

class RunFault : public RunCommand, public ::testing::WithParamInterface<Fault> {};

TEST_P(RunFault, IsOneLineThatNamesItAndLeavesNothing) {
    TestCase work = TestCase::sound();
    ASSERT_TRUE(succeeds(runOn(work)));
    fs::remove(path("out"));
    GetParam().make(work);
    if (std::string(GetParam().name) == "KernelLargerThanInput") shape("weight", {4, 2, 7, 7})(work);
    const Outcome outcome = runOn(work);
    EXPECT_TRUE(failsWith(outcome, 2, GetParam().part));
    EXPECT_NE(outcome.err.find("case'"), std::string::npos) << "the file is not named: " << outcome.err;
    EXPECT_EQ(files(), "case");
}

INSTANTIATE_TEST_SUITE_P(All, RunFault, ::testing::ValuesIn(kFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

TEST_F(RunCommand, DamagedFilesAreOneLine) {
    TestCase::sound().save(path("case"));
    const std::string whole = read("case");
    const std::vector<std::string> damaged = {"",
                                              "text",
                                              whole.substr(0, 7),
                                              whole.substr(0, 100),
                                              whole.substr(0, whole.size() - 1),
                                              whole + "x",
                                              "\x89PNG\r\n\x1a\n 12345"};
    for (const std::string& content : damaged) {
        write("case", content);
        EXPECT_TRUE(failsWith(runCommand({"run", path("case"), "-o", path("out")}), 2, "case'"));
        EXPECT_EQ(files(), "case");
    }
    EXPECT_TRUE(failsWith(runCommand({"run", path("absent"), "-o", path("out")}), 2, "absent'"));
    EXPECT_TRUE(failsWith(runCommand({"run", path(""), "-o", path("out")}), 2, "not a regular file"));
    EXPECT_TRUE(failsWith(runCommand({"run", "/dev/zero", "-o", path("out")}), 2, "not a regular file"));
}

TEST_F(RunCommand, AnAbsentDeviceIsExitCode3) {
    const TestCase work = TestCase::sound();
    EXPECT_TRUE(failsWith(runOn(work, {"--device", "no such device"}), 3, "no such device"));
    EXPECT_TRUE(failsWith(runOn(work, {"--device", "999"}), 3, "999"));
    EXPECT_TRUE(failsWith(runOn(work, {"--device", "cpu:7"}), 3, "cpu:7"));
    EXPECT_TRUE(failsWith(runOn(work, {"--device", "cpu", "--impl", "cpu:magic"}), 3, "cpu:magic"));
    Limits limits;
    limits.environment["PCONV_DEVICE"] = "nowhere";
    EXPECT_TRUE(failsWith(runCommand({"run", path("case"), "-o", path("out")}, limits), 3, "nowhere"));
    EXPECT_EQ(files(), "case");
}

TEST_F(RunCommand, WhatCannotBeWrittenLeavesTheOldFile) {
    TestCase::sound().save(path("case"));
    write("old", "old");
    const auto runTo = [this](const std::string& output, const Limits& limits = {}) {
        return runCommand({"run", path("case"), "-o", output, "--device", "cpu"}, limits);
    };
    EXPECT_TRUE(failsWith(runTo("/dev/full"), 1, "cannot write '/dev/full'"));
    EXPECT_TRUE(failsWith(runTo(path("absent/out")), 1, "cannot write"));
    EXPECT_TRUE(failsWith(runTo(path("")), 1, "cannot write"));
    EXPECT_TRUE(failsWith(runTo("/proc/out"), 1, "cannot write '/proc/out'"));
    Limits limits;
    limits.file_bytes = 64;
    EXPECT_TRUE(failsWith(runTo(path("old"), limits), 1, "cannot write"));
    EXPECT_EQ(read("old"), "old");
    EXPECT_EQ(files(), "case old");
}

TEST_F(RunCommand, AHugeOutputIsRefusedNotAttempted) {
    TestCase work = TestCase::sound();
    work.metadata["padding"] = "1000000000";
    const Outcome outcome = runOn(work);
    EXPECT_NE(outcome.exit_code, 0);
    EXPECT_TRUE(failsWith(outcome, outcome.exit_code, ""));
    EXPECT_EQ(files(), "case");
}

}  // namespace
}  // namespace pconv::test
