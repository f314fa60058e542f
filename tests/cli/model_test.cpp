// `pconv model`: checkpoints become model files, which say what they are; and what is at fault in either.
#include <cstring>

#include "command.h"
#include "files/safetensors.h"

namespace pconv::test {
namespace {

class ModelCommand : public CommandTest {
  protected:
    void SetUp() override {
        CommandTest::SetUp();
        if (runShell("python3 --version").exit_code != 0) GTEST_SKIP() << "there is no python3";
    }

    static std::string caseOf(const std::string& name) {
        return std::string(PCONV_TEST_NETWORKS) + "/" + name + ".safetensors";
    }

    void make(const std::string& name, const std::string& form, const std::string& prefix = "",
              const std::string& of = "paper-4-64-64-random") const {
        const Outcome outcome = runShell("python3 '" PCONV_TEST_SCRIPTS "/make_checkpoint.py' '" +
                                         caseOf(of) + "' " + name + " " + form + " " + prefix);
        ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    }

    Outcome import(const std::string& name, const std::vector<std::string>& more = {}) const {
        std::vector<std::string> arguments = {"model", "import", path(name), "-o", path("model.safetensors")};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return runCommand(arguments);
    }

    void expectRefused(const std::string& name, const std::string& part,
                       const std::vector<std::string>& more = {}) const {
        const std::string before = files();
        EXPECT_TRUE(failsWith(import(name, more), 2, part));
        EXPECT_EQ(files(), before);
    }
};

TEST_F(ModelCommand, CheckpointsOfAllFormatsBecomeTheSameModel) {
    make("plain.safetensors", "safetensors");
    Outcome outcome = import("plain.safetensors");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.out,
              "'plain.safetensors' is a paper_unet: 40 tensors used, none missing, 1 of no use here\n"
              "1 unknown and left out: 'extra.weight'\n");
    const std::string model = read("model.safetensors");
    SafetensorsReader file(path("model.safetensors"));
    EXPECT_EQ(file.tensors().size(), 40U);
    EXPECT_EQ(file.metadata().count("pconv.network"), 1U);
    for (const auto& [name, form, prefix] : std::vector<std::array<const char*, 3>>{
             {"zip.pth", "zip", "module."}, {"legacy.pth", "legacy", "module.generator."}}) {
        make(name, form, prefix);
        outcome = import(name);
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
        EXPECT_NE(outcome.out.find("is a paper_unet: 40 tensors used"), std::string::npos) << outcome.out;
        EXPECT_TRUE(read("model.safetensors") == model) << name;
    }
    EXPECT_EQ(files(), "legacy.pth model.safetensors plain.safetensors zip.pth");
}

// Of every U-Net of PyTorch, from the names its repository gives.
TEST_F(ModelCommand, NetworksAreKnownByTheirTensors) {
    for (const auto& [of, prefix, net, count] : std::vector<std::array<const char*, 4>>{
             {"mmagic-5-64-96-stroke", "generator.", "mmagic_pconv", "44"},
             {"unet-5-64-96-stroke", "module.", "pconv_unet", "43"}}) {
        make("checkpoint.pth", "zip", prefix, of);
        const Outcome outcome = import("checkpoint.pth");
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
        const std::string start =
            "'checkpoint.pth' is a " + std::string(net) + ": " + count + " tensors used, none missing";
        EXPECT_EQ(outcome.out.substr(0, start.size()), start);
        const Outcome shown = runCommand({"model", "show", path("model.safetensors")});
        EXPECT_NE(shown.out.find("sizes: multiples of 32"), std::string::npos) << shown.out << shown.err;
    }
}

// Kernels are turned, and times their size: Keras's ratio is K / sum, ours 1 / sum.
TEST_F(ModelCommand, KerasFilesBecomeModels) {
    const std::string find =
        "for p in \"$PATH\" \"/usr/bin:$PATH\"; do export PATH=$p; python3 -c 'import h5py' 2>/dev/null && "
        "break; done; ";
    if (runShell(find + "python3 -c 'import h5py'").exit_code != 0) GTEST_SKIP() << "python3 has no h5py";
    const Outcome outcome = runShell(find + "python3 '" PCONV_TEST_SCRIPTS
                                            "/make_checkpoint.py' none weights.h5 keras && \"$pconv\" model "
                                            "import weights.h5 -o model.safetensors");
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.out,
              "'weights.h5' is a keras_pconv: 42 tensors used, none missing, 0 of no use here\n");
    SafetensorsReader file(path("model.safetensors"));
    const auto expect = [&](const std::string& name, std::size_t size, std::size_t inputs,
                            std::size_t outputs) {
        SCOPED_TRACE(name);
        ASSERT_EQ(file.find(name)->shape, (std::vector<std::uint64_t>{outputs, inputs, size, size}));
        const auto values = file.readF32(name);
        for (const std::size_t o : {std::size_t{0}, outputs - 1})
            for (const std::size_t i : {std::size_t{0}, inputs - 1})
                for (std::size_t y = 0; y < size; ++y)
                    for (std::size_t x = 0; x < size; ++x)
                        ASSERT_EQ(values[((o * inputs + i) * size + y) * size + x],
                                  static_cast<float>(size * size) *
                                      (static_cast<float>(y + 8 * x + o) + static_cast<float>(i) / 1024));
    };
    expect("enc1.conv.weight", 7, 3, 64);
    expect("enc4.conv.weight", 3, 256, 512);
    expect("dec4.conv.weight", 3, 768, 256);
    expect("dec1.conv.weight", 3, 67, 3);
    expect("out.weight", 1, 3, 3);
    EXPECT_EQ(file.readF32("dec1.conv.bias"), (std::vector<float>{0, 1, 2}));
    EXPECT_EQ(file.readF32("dec2.bn.running_var")[63], 2);

    const Outcome other =
        runShell(find +
                 "python3 -c \"import h5py; h5py.File('other.h5', 'w').create_dataset('a', data=[1])\" && "
                 "\"$pconv\" model import other.h5 -o other.safetensors");
    EXPECT_TRUE(failsWith(other, 2, "'other.h5': an HDF5 file without the weights of a Keras model"));
}

TEST_F(ModelCommand, ShowsWhatAModelIs) {
    make("checkpoint.pth", "zip");
    ASSERT_EQ(import("checkpoint.pth").exit_code, 0);
    const Outcome outcome = runCommand({"model", "show", path("model.safetensors"), "--size", "64x128"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    for (const char* part : {"paper_unet, 3 channels in 64x128", "sizes: multiples of 16", "enc1",
                             "partial conv", "64x32x64", "upsample", "concat", "3x64x128"})
        EXPECT_NE(outcome.out.find(part), std::string::npos) << part << " in\n" << outcome.out;
    EXPECT_TRUE(failsWith(runCommand({"model", "show", path("model.safetensors"), "--size", "60x64"}), 2,
                          "multiples of 16"));
    EXPECT_TRUE(failsWith(runCommand({"run", path("model.safetensors"), "-o", path("out")}), 2,
                          "model.safetensors' is a model file; expected a file with its input"));
    EXPECT_TRUE(
        failsWith(runCommand({"model", "show", "pdresnet18", "--size", "448x224"}), 2, "expected 224x224"));
    const Outcome preset = runCommand({"model", "show", "pdresnet152"});
    EXPECT_NE(preset.out.find("layer4.2.conv3"), std::string::npos) << preset.out << preset.err;
}

TEST_F(ModelCommand, NothingOfAPickleIsExecuted) {
    make("hostile.pth", "hostile");
    expectRefused("hostile.pth", "system, which is no tensor, number, text or plain container");
    EXPECT_EQ(files().find("executed"), std::string::npos);
}

TEST_F(ModelCommand, DamagedCheckpointsAreRefused) {
    for (const char* form : {"zip", "legacy"}) {
        make("whole.pth", form);
        const std::string whole = read("whole.pth");
        for (const std::size_t size : {std::size_t{0}, std::size_t{3}, std::size_t{100}, std::size_t{5000},
                                       whole.size() / 2, whole.size() - 10}) {
            SCOPED_TRACE(std::string(form) + " of " + std::to_string(size));
            write("part.pth", whole.substr(0, size));
            expectRefused("part.pth", "'part.pth'");
        }
    }
    write("text.pth", "no checkpoint at all");
    expectRefused("text.pth", "'text.pth'");
    write("empty.h5", std::string("\x89HDF\r\n\x1a\n", 8) + std::string(100, '\0'));
    expectRefused("empty.h5", "'empty.h5'");
    expectRefused("absent.pth", "absent.pth");
}

TEST_F(ModelCommand, OtherNetworksAreNamed) {
    make("checkpoint.safetensors", "safetensors");
    expectRefused("checkpoint.safetensors", "is no pdresnet18: it lacks 'conv1.weight'",
                  {"--net", "pdresnet18"});
    expectRefused("checkpoint.safetensors", "it looks like paper_unet", {"--net", "pdresnet18"});
    expectRefused("checkpoint.safetensors", "no network is called 'nothing'", {"--net", "nothing"});
    make("prefixed.safetensors", "safetensors", "unknown.");
    expectRefused("prefixed.safetensors", "its tensors are of no network known here");
}

TEST_F(ModelCommand, ModelFilesThatDisagreeWithThemselvesAreRefused) {
    make("checkpoint.safetensors", "safetensors");
    ASSERT_EQ(import("checkpoint.safetensors").exit_code, 0);
    const auto show = [&](const std::string& name) { return runCommand({"model", "show", path(name)}); };
    EXPECT_TRUE(failsWith(show("checkpoint.safetensors"), 2, "has no description of a network"));
    // In the header, where lengths stay as they are.
    const auto changed = [&](const std::string& from, const std::string& to) {
        std::string bytes = read("model.safetensors");
        const std::size_t at = bytes.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        ASSERT_EQ(from.size(), to.size());
        bytes.replace(at, from.size(), to);
        write("changed.safetensors", bytes);
    };
    const std::pair<const char*, const char*> changes[] = {
        {"\\\"type\\\":\\\"upsample\\\"", "\\\"type\\\":\\\"upsomple\\\""},
        {"\\\"format\\\":1", "\\\"format\\\":7"},
        {"\\\"channels\\\":64", "\\\"channels\\\":65"},
        {"\\\"channels\\\":64", "\\\"chunnels\\\":64"},
        {"\\\"name\\\":\\\"enc2\\\"", "\\\"name\\\":\\\"enc9\\\""},
        {"\\\"kernel\\\":[7,7]", "\\\"kernel\\\":[7,x]"},
    };
    for (const auto& [from, to] : changes) {
        SCOPED_TRACE(to);
        changed(from, to);
        EXPECT_TRUE(failsWith(show("changed.safetensors"), 2, "changed.safetensors"));
    }
}

}  // namespace
}  // namespace pconv::test
