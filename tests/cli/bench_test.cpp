// pconv bench: what it measures, what it writes, and what it says of arguments it cannot use.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "command.h"
#include "pconv/pconv.hpp"

namespace pconv::test {
namespace {

using Json = nlohmann::ordered_json;

class Bench : public CommandTest {
  protected:
    // The report of a run on small shapes; each row for a moment.
    Json measured(std::vector<std::string> arguments) {
        const std::vector<std::string> usual = {"bench",  "--shrink",        "8", "--seconds", "0.005",
                                                "--json", path("bench.json")};
        arguments.insert(arguments.begin(), usual.begin(), usual.end());
        if (std::find(arguments.begin(), arguments.end(), "--device") == arguments.end())
            arguments.insert(arguments.end(), {"--device", "cpu"});
        outcome_ = runCommand(arguments);
        EXPECT_TRUE(succeeds(outcome_));
        return Json::parse(read("bench.json"), nullptr, false);
    }
    Outcome outcome_;
};

void expectTiming(const Json& timing) {
    ASSERT_TRUE(timing.is_object()) << timing;
    const auto median = timing.at("median_s").get<double>();
    EXPECT_GT(median, 0);
    EXPECT_LE(timing.at("least_s").get<double>(), timing.at("p10_s").get<double>());
    EXPECT_LE(timing.at("p10_s").get<double>(), median);
    EXPECT_LE(median, timing.at("p90_s").get<double>());
    EXPECT_GE(timing.at("rounds").get<int>(), 1);
    EXPECT_GE(timing.at("calls_a_round").get<int>(), 1);
}

double ratio(const Json& above, const Json& below) {
    return above.at("median_s").get<double>() / below.at("median_s").get<double>();
}

// Every figure that a row which ran has.
void expectWhole(const Json& row) {
    SCOPED_TRACE(row.at("name"));
    EXPECT_EQ(row.at("fault"), "");
    EXPECT_EQ(row.at("implementation").get<std::string>().rfind("cpu:", 0), 0U) << row;
    EXPECT_GE(row.at("sets").get<int>(), 1);
    expectTiming(row.at("time"));
    expectTiming(row.at("time_mask_reused"));
    EXPECT_EQ(row.at("plain").at("fault"), "");
    EXPECT_FALSE(row.at("plain").at("implementation").get<std::string>().empty());
    expectTiming(row.at("plain").at("time"));
    EXPECT_NEAR(row.at("over_plain").get<double>(), ratio(row.at("time"), row.at("plain").at("time")), 1e-9);
    const Json& memory = row.at("memory");
    const auto parts = memory.at("input_bytes").get<int64_t>() + memory.at("weight_bytes").get<int64_t>() +
                       memory.at("output_bytes").get<int64_t>() + memory.at("mask_bytes").get<int64_t>() +
                       memory.at("between_bytes").get<int64_t>();
    EXPECT_EQ(memory.at("ideal_bytes"), parts);
    EXPECT_GE(memory.at("peak_bytes").get<int64_t>(),
              memory.at("input_bytes").get<int64_t>() + memory.at("output_bytes").get<int64_t>());
    EXPECT_GT(row.at("operations").get<double>(), 0);
}

const Json& tableOf(const Json& report, const char* name) {
    for (const Json& table : report.at("tables"))
        if (table.at("name") == name) return table;
    throw std::out_of_range(std::string("no table ") + name);
}

TEST_F(Bench, ListsThe45RowsAndItsOwn) {
    const Outcome outcome = runCommand({"bench", "--list", "--table", "2d,3d,2d-networks,3d-networks"});
    ASSERT_TRUE(succeeds(outcome));
    EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 45);
    for (const char* name : {"2d/Small (128x128x16)\n", "3d/Sequential Data\n", "2d-networks/Small U-Net\n",
                             "3d-networks/High-Res Spatial\n"})
        EXPECT_NE(outcome.out.find(name), std::string::npos) << name;
    const Outcome one = runCommand({"bench", "--list", "--filter", "strokes 75|multi-CHANNEL"});
    ASSERT_TRUE(succeeds(one));
    EXPECT_EQ(one.out,
              "multi/Multi-channel\nholes/3->64 k7 s2 strokes 75 %\nholes/64->64 k3 s1 strokes 75 %\n");
}

TEST_F(Bench, LayersHaveEveryFigure) {
    const Json report = measured({"--table", "2d,3d,multi,limits"});
    ASSERT_TRUE(report.is_object());
    EXPECT_EQ(report.at("format"), "pconv-bench-1");
    EXPECT_EQ(report.at("device").at("backend"), "cpu");
    EXPECT_EQ(report.at("device").at("type"), "cpu");
    EXPECT_FALSE(report.at("commit").get<std::string>().empty());
    const Json& options = report.at("options");
    EXPECT_EQ(options.at("batch"), 1);
    EXPECT_EQ(options.at("shrink"), 8);
    EXPECT_EQ(options.at("dtype"), "f32");
    EXPECT_EQ(options.at("tables").size(), 4U);
    EXPECT_EQ(tableOf(report, "2d").at("rows").size(), 12U);
    EXPECT_EQ(tableOf(report, "3d").at("rows").size(), 12U);
    EXPECT_EQ(tableOf(report, "multi").at("rows").size(), 1U);
    for (const Json& table : report.at("tables")) {
        double logs = 0;
        for (const Json& row : table.at("rows")) {
            expectWhole(row);
            logs += std::log(row.at("over_plain").get<double>());
        }
        const double mean = std::exp(logs / static_cast<double>(table.at("rows").size()));
        EXPECT_NEAR(table.at("geometric_means").at("over_plain").get<double>(), mean, 1e-9);
    }
    const Json& small = tableOf(report, "2d").at("rows").at(0);
    EXPECT_EQ(small.at("shape"), "[1,4,16,16]->8 k3");
    EXPECT_EQ(small.at("published_by_others").at("nvidia_ms"), 1.341);
    EXPECT_EQ(small.at("operations").get<double>(), 2.0 * 4 * 9 * 8 * 16 * 16);
    EXPECT_EQ(small.at("memory").at("ideal_bytes"),
              4 * (4 * 256) + 4 * (8 * 4 * 9 + 8) + 4 * (8 * 256) + 256);
    EXPECT_TRUE(tableOf(report, "multi").at("rows").at(0).at("published_by_others").is_null());

    const Json& limits = report.at("limits");
    const auto bandwidth = limits.at("copy_bytes_per_second").get<double>();
    const auto rate = limits.at("plain_operations_per_second").get<double>();
    for (const char* name : {"2d", "3d"})
        for (const Json& row : tableOf(report, name).at("rows")) {
            const double floor = std::max(row.at("memory").at("ideal_bytes").get<double>() / bandwidth,
                                          row.at("operations").get<double>() / rate);
            EXPECT_NEAR(row.at("limit").at("floor_s").get<double>() / floor, 1, 1e-9);
            // The rate is that of the fastest of all.
            EXPECT_GE(row.at("plain").at("time").at("median_s").get<double>() * rate * (1 + 1e-9),
                      row.at("operations").get<double>());
        }
    for (const char* text : {"2-D layers", "3-D layers", "A mask for every channel", "Limits",
                             "published by others", "geometric means"})
        EXPECT_NE(outcome_.out.find(text), std::string::npos) << text;
}

TEST_F(Bench, NetworksStandBesideTheirLayers) {
    const Json report = measured({"--table", "2d-networks", "--filter", "2-Layer Seq|Grouped|Small U-Net"});
    const Json& rows = tableOf(report, "2d-networks").at("rows");
    ASSERT_EQ(rows.size(), 3U);
    for (const Json& row : rows) expectWhole(row);
    EXPECT_EQ(rows[0].at("shape"), "[1,4,16,16]-8-4");
    EXPECT_EQ(rows[0].at("memory").at("between_bytes"), 4 * 8 * 256);
    EXPECT_EQ(rows[2].at("shape"), "[1,3,16,16]-2-4-8-16-up-8-up-4-2-3");
    for (const std::size_t sequential : {0U, 1U}) {
        expectTiming(rows[sequential].at("layer_by_layer"));
        EXPECT_NEAR(rows[sequential].at("layers_over_network").get<double>(),
                    ratio(rows[sequential].at("layer_by_layer"), rows[sequential].at("time")), 1e-9);
    }
    EXPECT_TRUE(rows[2].at("layer_by_layer").is_null());
}

TEST_F(Bench, HolesAreMeasuredBesideNone) {
    const Json report = measured({"--table", "holes", "--filter", "->8 k3 s1 (boxes 95|pixels 50)"});
    const Json& holes = report.at("holes");
    ASSERT_EQ(holes.size(), 3U);
    for (const Json& row : holes) expectTiming(row.at("time"));
    EXPECT_EQ(holes[0].at("pattern"), "none");
    EXPECT_EQ(holes[0].at("over_no_holes"), 1);
    EXPECT_EQ(holes[0].at("hole_tiles"), 0);
    EXPECT_EQ(holes[0].at("valid_tiles"), 1);
    EXPECT_EQ(holes[1].at("pattern"), "boxes");
    EXPECT_EQ(holes[1].at("percent"), 95);
    EXPECT_GT(holes[1].at("hole_tiles").get<double>(), 0.3);
    EXPECT_NEAR(holes[1].at("over_no_holes").get<double>(), ratio(holes[1].at("time"), holes[0].at("time")),
                1e-9);
    EXPECT_EQ(holes[2].at("hole_tiles"), 0);
    EXPECT_EQ(holes[2].at("valid_tiles"), 0);
}

TEST_F(Bench, SettingsReachTheRows) {
    const Json report = measured({"--filter", "2d/Strided", "--table", "2d", "--batch", "3", "--rounds", "2",
                                  "--layout", "channels_last", "--math", "fast", "--backward"});
    const Json& row = tableOf(report, "2d").at("rows").at(0);
    expectWhole(row);
    EXPECT_EQ(row.at("shape"), "[3,4,32,32]->8 k3 s2");
    EXPECT_EQ(row.at("time").at("rounds"), 2);
    EXPECT_EQ(row.at("operations").get<double>(), 3 * 2.0 * 4 * 9 * 8 * 16 * 16 * 3);
    EXPECT_EQ(report.at("options").at("backward"), true);
    EXPECT_EQ(report.at("options").at("layout"), "channels_last");
    EXPECT_EQ(report.at("options").at("math"), "fast");
    const Json published = measured({"--filter", "2d/Sequential", "--table", "2d", "--batch", "published"});
    EXPECT_EQ(tableOf(published, "2d").at("rows").at(0).at("input").at(0), 128);
    EXPECT_EQ(published.at("options").at("batch"), "published");
}

TEST_F(Bench, WhatIsNotSupportedDoesNotEndTheRun) {
    const Json report =
        measured({"--table", "2d,2d-networks", "--filter", "2d/No Mask|2-Layer Seq", "--backward"});
    expectWhole(tableOf(report, "2d").at("rows").at(0));
    const Json& network = tableOf(report, "2d-networks").at("rows").at(0);
    EXPECT_EQ(network.at("fault"), "not supported: networks have no backward pass");
    EXPECT_TRUE(network.at("time").is_null());
    EXPECT_TRUE(tableOf(report, "2d-networks").at("geometric_means").at("over_plain").is_null());
    EXPECT_NE(outcome_.out.find("not supported: networks have no backward pass"), std::string::npos);
}

TEST_F(Bench, VulkanDevicesAreMeasuredWhereThereAreAny) {
    bool present = false;
    for (const PconvDeviceInfo& info : devices()) present = present || std::string(info.backend) == "vulkan";
    if (!present) GTEST_SKIP() << "no Vulkan device";
    const Json report = measured({"--device", "vulkan", "--table", "2d", "--filter", "2d/Sequential"});
    const Json& row = tableOf(report, "2d").at("rows").at(0);
    EXPECT_EQ(row.at("fault"), "");
    EXPECT_EQ(row.at("implementation").get<std::string>().rfind("vulkan:", 0), 0U) << row;
    expectTiming(row.at("time"));
    EXPECT_GT(row.at("memory").at("peak_bytes").get<int64_t>(), 0);
}

TEST_F(Bench, FaultyArgumentsAreNamed) {
    const auto fails = [](std::vector<std::string> arguments, int code, const std::string& part) {
        arguments.insert(arguments.begin(), {"bench", "--shrink", "8"});
        return failsWith(runCommand(arguments), code, part);
    };
    EXPECT_TRUE(fails({"--table", "4d"}, 2, "4d"));
    EXPECT_TRUE(fails({"--filter", "2d/("}, 2, "2d/("));
    EXPECT_TRUE(fails({"--filter", "nothing of this name"}, 2, "nothing of this name"));
    EXPECT_TRUE(fails({"--batch", "0"}, 2, "'0' is no batch"));
    EXPECT_TRUE(fails({"--batch", "12x"}, 2, "12x"));
    EXPECT_TRUE(fails({"--rounds", "0"}, 2, "--rounds"));
    EXPECT_TRUE(fails({"--seconds", "-1"}, 2, "--seconds"));
    EXPECT_TRUE(fails({"--dtype", "f64"}, 2, "f64"));
    EXPECT_TRUE(fails({"--device", "none"}, 3, "none"));
    EXPECT_TRUE(fails({"--device", "cpu", "--impl", "cpu:none"}, 3, "cpu:none"));
    EXPECT_TRUE(fails({"--device", "cpu", "--json", path("no/such/folder.json")}, 1, "folder.json"));
    EXPECT_EQ(files(), "");
}

}  // namespace
}  // namespace pconv::test
