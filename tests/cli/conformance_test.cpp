// pconv conformance: what it runs, what it reports, and which reports it believes.
#include <nlohmann/json.hpp>

#include "command.h"

namespace pconv::test {
namespace {

using Json = nlohmann::ordered_json;

class Conformance : public CommandTest {
  protected:
    // A whole report of the oracle's row, made once and checked.
    Json wholeReport() {
        const Outcome outcome = runCommand(
            {"conformance", "--device", "cpu", "--impl", "cpu:reference", "--report", path("whole.json")});
        EXPECT_EQ(outcome.exit_code, 0) << outcome.err << outcome.out;
        return Json::parse(read("whole.json"));
    }
    Outcome verify(const std::string& text) {
        write("sent.json", text);
        return runCommand({"conformance", "verify", path("sent.json")});
    }
};

TEST_F(Conformance, EveryCaseOfTheOracleRowPasses) {
    const Json report = wholeReport();
    EXPECT_EQ(report["format"], "pconv-conformance-1");
    EXPECT_EQ(report["device"]["backend"], "cpu");
    EXPECT_FALSE(report["commit"].get<std::string>().empty());
    ASSERT_EQ(report["rows"].size(), 1U);
    const Json& row = report["rows"][0];
    EXPECT_EQ(row["name"], "cpu:reference");
    for (const char* profile : {"core", "volume", "train", "half", "masked", "padding"})
        EXPECT_EQ(row["profiles"][profile], "passed") << profile;
    std::size_t references = 0;
    for (const Json& entry : row["cases"]) {
        EXPECT_EQ(entry["result"], "passed") << entry;
        EXPECT_LE(entry["worst"].get<double>(), 1) << entry;
        if (entry["name"].get<std::string>().rfind("reference", 0) == 0) ++references;
    }
    EXPECT_EQ(references, 2U * 67U);  // forward and backward
}

TEST_F(Conformance, VerifyBelievesAWholeReportAndNoOther) {
    const Json whole = wholeReport();
    const Outcome good = verify(whole.dump());
    EXPECT_TRUE(succeeds(good));
    EXPECT_NE(good.out.find("cpu:reference"), std::string::npos);

    Json changed = whole;
    changed["rows"][0]["cases"][3]["worst"] = 1.5;
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "beyond its bound"));
    changed = whole;
    changed["rows"][0]["cases"].erase(5);
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "all of the suite"));
    changed = whole;
    changed["rows"][0]["cases"][7]["name"] = "reference/invented";
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "reference/invented"));
    // A profile that is not supported is not a pass.
    changed = whole;
    for (Json& entry : changed["rows"][0]["cases"]) entry["result"] = "not supported";
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "claims another result"));
    changed = whole;
    changed["complete"] = false;
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "part of the suite"));
    changed = whole;
    changed["rows"] = Json::array();
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "no rows"));
    changed = whole;
    changed["format"] = "pconv-conformance-9";
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "pconv-conformance-1"));
    changed = whole;
    changed.erase("device");
    EXPECT_TRUE(failsWith(verify(changed.dump()), 2, "'device'"));
    std::string twice = whole.dump();
    twice.insert(1, R"("commit":"another",)");
    EXPECT_TRUE(failsWith(verify(twice), 2, "twice"));
    EXPECT_TRUE(failsWith(verify(std::string(100000, '[')), 2, "nested"));
    EXPECT_TRUE(failsWith(verify("{"), 2, "not JSON"));
    EXPECT_TRUE(failsWith(runCommand({"conformance", "verify", path("absent.json")}), 2, "absent.json"));
}

TEST_F(Conformance, AReportOfFailuresIsReadButDoesNotPass) {
    Json report = wholeReport();
    report["rows"][0]["cases"][0]["result"] = "failed";
    report["rows"][0]["cases"][0]["worst"] = nullptr;
    report["rows"][0]["profiles"]["core"] =
        "failed";  // which the first case, of the 2-D reference cases, is of
    const Outcome outcome = verify(report.dump());
    EXPECT_EQ(outcome.exit_code, 1) << outcome.err;
    EXPECT_NE(outcome.out.find("FAILED"), std::string::npos);
    EXPECT_NE(outcome.err.find("1 cases failed"), std::string::npos);
}

TEST_F(Conformance, ProfilesThatWereNotAskedForAreNotRun) {
    EXPECT_TRUE(succeeds(runCommand({"conformance", "--device", "cpu", "--impl", "cpu:reference", "--profile",
                                     "volume", "--report", path("part.json")})));
    const Json report = Json::parse(read("part.json"));
    const Json& profiles = report["rows"][0]["profiles"];
    for (const char* profile : {"core", "train", "half", "masked", "padding"})
        EXPECT_EQ(profiles[profile], "not run") << profile;
    EXPECT_EQ(profiles["volume"], "passed");
}

TEST_F(Conformance, RunsWhatIsAskedFor) {
    const Outcome one = runCommand({"conformance", "--device", "cpu", "--impl", "cpu:reference",
                                    "reference/nvidia2d_k3_random", "exact/g*"});
    EXPECT_TRUE(succeeds(one));
    EXPECT_NE(one.out.find("core"), std::string::npos);
    EXPECT_EQ(one.out.find("train"), std::string::npos);
    const Outcome list = runCommand({"conformance", "--list", "--profile", "volume"});
    EXPECT_TRUE(succeeds(list));
    EXPECT_NE(list.out.find("reference/nvidia3d_k3_random"), std::string::npos);
    EXPECT_EQ(list.out.find("nvidia2d"), std::string::npos);
    const Outcome padding = runCommand({"conformance", "--list", "--profile", "padding"});
    EXPECT_TRUE(succeeds(padding));
    EXPECT_NE(padding.out.find("reference_backward/padding_reflect2d_k3"), std::string::npos);

    EXPECT_TRUE(failsWith(runCommand({"conformance", "reference/none"}), 2, "reference/none"));
    EXPECT_TRUE(failsWith(runCommand({"conformance", "--profile", "all2"}), 2, "all2"));
    EXPECT_TRUE(
        failsWith(runCommand({"conformance", "--device", "cpu", "--impl", "cpu:none"}), 3, "cpu:none"));
    EXPECT_TRUE(failsWith(runCommand({"conformance", "--device", "none"}), 3, "none"));
    EXPECT_TRUE(failsWith(runCommand({"conformance", "--cases", path("nowhere")}), 2, "--cases"));
    EXPECT_TRUE(failsWith(runCommand({"conformance", "--device", "cpu", "--impl", "cpu:reference", "--report",
                                      path("no/such/folder.json"), "exact/groups"}),
                          1, "folder.json"));
    EXPECT_EQ(files(), "");
}

}  // namespace
}  // namespace pconv::test
