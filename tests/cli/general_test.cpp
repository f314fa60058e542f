// What the command says of itself, of wrong arguments and of the devices.
#include <nlohmann/json.hpp>

#include "command.h"

namespace pconv::test {
namespace {

TEST(Help, TeachesEveryCommandWithExamples) {
    const Outcome all = runCommand({"--help"});
    EXPECT_TRUE(succeeds(all));
    for (const char* part :
         {"inpaint", "run", "devices", "Examples:", "Exit codes", "PCONV_DEVICE", "--version"}) {
        EXPECT_NE(all.out.find(part), std::string::npos) << part;
    }
    const std::map<std::string, std::vector<std::string>> expected = {
        {"inpaint",
         {"--mask", "--hole", "--model", "--tile", "--output", "--device",
          "Examples:", "bit for bit needs PNG"}},
        {"run",
         {"--impl", "--output", "--device", "--backward", "--dtype", "--math", "Examples:", "mask_window",
          "group_channels", "mask_sum"}},
        {"devices", {"--json", "Examples:"}},
        {"model", {"show", "import", "pconv.network", "Examples:"}},
        {"model import", {"--output", "--net", "Nothing in it is executed", "Examples:"}},
        {"classify", {"--model", "--labels", "--device", "Examples:"}},
    };
    for (const auto& [command, parts] : expected) {
        const std::size_t space = command.find(' ');
        std::vector<std::string> arguments = {command.substr(0, space), "--help"};
        if (space != std::string::npos) arguments.insert(arguments.begin() + 1, command.substr(space + 1));
        const Outcome help = runCommand(arguments);
        EXPECT_TRUE(succeeds(help));
        for (const std::string& part : parts)
            EXPECT_NE(help.out.find(part), std::string::npos) << command << part;
        for (std::size_t at = 0, end = 0; at < help.out.size(); at = end + 1) {
            end = help.out.find('\n', at);
            EXPECT_LE(end - at, 120U) << help.out.substr(at, end - at);
        }
    }
}

TEST(Help, VersionIsOneLine) {
    const Outcome outcome = runCommand({"--version"});
    EXPECT_TRUE(succeeds(outcome));
    EXPECT_EQ(outcome.out, "pconv " PCONV_TEST_VERSION "\n");
}

TEST(Arguments, WrongOnesAreOneLineAndExitCode2) {
    EXPECT_TRUE(failsWith(runCommand({}), 2, "inpaint, run, devices, conformance, bench, model or classify"));
    EXPECT_TRUE(failsWith(runCommand({"paint"}), 2, "paint"));
    EXPECT_TRUE(failsWith(runCommand({"--colour"}), 2, "--colour"));
    EXPECT_TRUE(failsWith(runCommand({"inpaint"}), 2, "IMAGE is required"));
    EXPECT_TRUE(failsWith(runCommand({"inpaint", "a.png"}), 2, "--output is required"));
    EXPECT_TRUE(failsWith(runCommand({"inpaint", "a.png", "-o"}), 2, "--output"));
    EXPECT_TRUE(failsWith(runCommand({"inpaint", "a.png", "-o", "b.png", "c.png"}), 2, "c.png"));
    EXPECT_TRUE(failsWith(runCommand({"inpaint", "a.png", "-o", "b.png", "--hole", "red"}), 2, "white"));
    EXPECT_TRUE(
        failsWith(runCommand({"inpaint", "a.png", "-o", "b.png", "--max-pixels", "-1"}), 2, "max-pixels"));
    EXPECT_TRUE(failsWith(runCommand({"inpaint", "a.png", "-o", "b.png", "--speed", "9"}), 2, "--speed"));
    EXPECT_TRUE(failsWith(runCommand({"run", "a"}), 2, "--output is required"));
    EXPECT_TRUE(failsWith(runCommand({"run", "-o", "b"}), 2, "CASE is required"));
    EXPECT_TRUE(failsWith(runCommand({"run", "a", "-o", "b", "--dtype", "f8"}), 2, "f16"));
    EXPECT_TRUE(failsWith(runCommand({"run", "a", "-o", "b", "--math", "wild"}), 2, "fast"));
    EXPECT_TRUE(failsWith(runCommand({"devices", "x"}), 2, "x"));
    EXPECT_TRUE(failsWith(runCommand({"line\nbreak"}), 2, "line"));
}

TEST(Devices, AreListedForPeopleAndPrograms) {
    const Outcome plain = runCommand({"devices"});
    EXPECT_TRUE(succeeds(plain));
    const Outcome outcome = runCommand({"devices", "--json"});
    EXPECT_TRUE(succeeds(outcome));
    const nlohmann::json json = nlohmann::json::parse(outcome.out);
    std::map<std::string, int> devices_of;
    for (const auto& device : json.at("devices")) {
        EXPECT_EQ(device.at("index"), devices_of["all"]++);
        ++devices_of[device.at("backend").get<std::string>()];
        EXPECT_FALSE(device.at("name").get<std::string>().empty());
        EXPECT_NE(plain.out.find(device.at("name").get<std::string>()), std::string::npos);
        EXPECT_EQ(device.at("fault"), "");
        EXPECT_FALSE(device.at("implementations").empty());
        for (const auto& row : device.at("implementations")) {
            EXPECT_EQ(row.at("reason").get<std::string>().empty(), row.at("supported").get<bool>()) << row;
            EXPECT_NE(plain.out.find(row.at("name").get<std::string>()), std::string::npos);
        }
    }
    EXPECT_GE(devices_of["cpu"], 1);
    for (const auto& backend : json.at("backends")) {
        const std::string name = backend.at("name").get<std::string>();
        EXPECT_EQ(backend.at("device_count"), devices_of[name]);
        EXPECT_EQ(backend.at("reason").get<std::string>().empty(), devices_of[name] > 0) << backend;
    }
}

TEST(Devices, AFullDiskIsAnError) {
    Limits limits;
    limits.stdout_path = "/dev/full";
    EXPECT_TRUE(failsWith(runCommand({"devices"}, limits), 1, "cannot write to the standard output"));
    EXPECT_TRUE(failsWith(runCommand({"--help"}, limits), 1, "cannot write to the standard output"));
}

}  // namespace
}  // namespace pconv::test
