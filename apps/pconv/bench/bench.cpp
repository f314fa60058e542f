#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "argument_file.h"
#include "bench/network.h"
#include "bench/report.h"
#include "command.h"
#include "platform.h"
#include "progress_bar.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Measure how fast a device is, beside its own plain convolution.";

constexpr const char* kMore = R"(
Tables:
  2d, 3d                    single layers, as lyehe/pconv published them for a GPU
  2d-networks, 3d-networks  networks, likewise
  multi                     a layer whose every channel has a mask
  limits                    the layers of 2d and 3d against the least time their bytes and products could take
  holes                     first layers of an inpainting network under strokes, boxes and pixels that are holes
Every figure is the median of rounds timed on the device's own clock after a warm-up, with the tenth and the ninetieth
percentile beside it. What is compared takes turns, round by round; calls rotate over random tensors that together
exceed the last-level cache twice.
  ms            the mask side computed with every call      reused, same mask  the mask unchanged since the last call
  plain         conv(x, W) + b of the same shape, by this library: oneDNN's on the CPU, cuDNN's on CUDA
  /plain        time over plain: 1 is as fast               by layer  a network's layers called one by one
  MiB, /ideal   device memory at the peak of one pass, and over its input, weights, output and mask with what must lie
                between a network's layers
Rows that a device cannot do say why. Exit codes: 0 done; 1 a row failed; 2 bad arguments; 3 the device is not there.

Examples:
  pconv bench --device vulkan --table 2d,3d
  pconv bench --device cpu --filter '2d/(Small|Strided)' --json small.json
  pconv bench --table limits --dtype f16 --math fast
  pconv bench --table holes --filter strokes)";

const std::vector<std::string> kMeasured = {"2d", "3d", "2d-networks", "3d-networks", "multi"};

const std::map<std::string, PconvDataType> kDataTypes = {
    {"f32", PCONV_DATA_TYPE_F32}, {"f16", PCONV_DATA_TYPE_F16}, {"bf16", PCONV_DATA_TYPE_BF16}};

struct Options {
    std::string device;
    std::string implementation;
    std::vector<std::string> tables = {"all"};
    std::string filter;
    std::string json;
    std::string batch;
    int64_t shrink = 1;
    int rounds = 0;
    double seconds = 1;
    bool backward = false;
    std::string data_type = "f32";
    PconvMath math = PCONV_MATH_EXACT;
    std::string layout = "contiguous";
    bool list = false;
};

class Filter {
  public:
    explicit Filter(const std::string& pattern) {
        try {
            expression_ = std::regex(pattern, std::regex::ECMAScript | std::regex::icase);
        } catch (const std::regex_error&) {
            throw CommandError(kExitBadInput, "--filter " + inQuotes(pattern) + " is no regular expression");
        }
    }
    bool operator()(const std::string& id) const { return std::regex_search(id, expression_); }

  private:
    std::regex expression_;
};

/// What is to be measured, and of that what is to be shown.
struct Plan {
    std::vector<BenchTable> tables;
    std::vector<std::string> shown;
    bool limits = false;
    bool holes = false;
};

Plan planOf(const Options& options, const Filter& filter) {
    const auto asked = [&](const char* name) {
        return std::any_of(options.tables.begin(), options.tables.end(),
                           [&](const std::string& table) { return table == name || table == "all"; });
    };
    Plan plan;
    plan.limits = asked("limits");
    for (const std::string& name : kMeasured) {
        const bool shown = asked(name.c_str());
        if (!shown && !(plan.limits && (name == "2d" || name == "3d"))) continue;
        BenchTable table{name, {}};
        for (const SeedRow& row : seedRows(name)) {
            if (!filter(row.id())) continue;
            table.rows.emplace_back();
            table.rows.back().row = row.shrunk(options.shrink);
        }
        if (table.rows.empty()) continue;
        plan.tables.push_back(std::move(table));
        if (shown) plan.shown.push_back(name);
    }
    if (asked("holes")) {
        const std::vector<std::string> ids = holesIds(options.shrink);
        plan.holes = std::any_of(ids.begin(), ids.end(), filter);
    }
    const bool layers = std::any_of(plan.tables.begin(), plan.tables.end(), [](const BenchTable& table) {
        return table.name == "2d" || table.name == "3d";
    });
    plan.limits = plan.limits && layers;
    if (plan.tables.empty() && !plan.holes)
        throw CommandError(kExitBadInput, "no row of these tables matches --filter " +
                                              inQuotes(options.filter) + "; --list shows them all");
    return plan;
}

std::string listText(const Plan& plan, const Options& options, const Filter& filter) {
    std::string text;
    for (const BenchTable& table : plan.tables)
        for (const RowResult& result : table.rows) text += result.row.id() + "\n";
    if (plan.holes)
        for (const std::string& id : holesIds(options.shrink))
            if (filter(id)) text += id + "\n";
    return text;
}

BenchSettings settingsOf(const Options& options) {
    BenchSettings settings;
    settings.data_type = kDataTypes.at(options.data_type);
    settings.math = options.math;
    settings.layout =
        options.layout == "channels_last" ? PCONV_LAYOUT_CHANNELS_LAST : PCONV_LAYOUT_CONTIGUOUS;
    settings.implementation = options.implementation;
    settings.backward = options.backward;
    settings.budget = {options.seconds, options.rounds};
    return settings;
}

/// 0: as published.
int64_t batchOf(const Options& options, const BenchDevice& bench) {
    if (options.batch.empty()) return bench.isSlow() ? 1 : 0;
    return options.batch == "published" ? 0 : std::stoll(options.batch);
}

std::string checkBatch(const std::string& text) {
    constexpr std::size_t kMostDigits = 6;
    const bool number = !text.empty() && text.size() <= kMostDigits && text[0] != '0' &&
                        text.find_first_not_of("0123456789") == std::string::npos;
    if (number || text == "published") return "";
    return inQuotes(text) + " is no batch; expected 1 to 999999 or published";
}

void checkImplementation(const BenchDevice& bench) {
    const std::string& wanted = bench.settings().implementation;
    if (wanted.empty()) return;
    std::string names;
    for (const PconvImplementationInfo& row :
         bench.device().implementations(PartialConvDesc::same(1, 1, 1, {4, 4}, 3))) {
        if (wanted == row.name) return;
        names += (names.empty() ? "" : ", ") + std::string(row.name);
    }
    throw CommandError(kExitDevice,
                       "no implementation " + inQuotes(wanted) + " on this device; it has " + names);
}

std::vector<std::string> notesOf(const BenchDevice& bench) {
    std::vector<std::string> notes;
    if (bench.info().type == PCONV_DEVICE_TYPE_SOFTWARE)
        notes.emplace_back("this device is software that runs on the CPU: its times say nothing of a GPU");
    const double load = machineLoad();
    if (load > std::thread::hardware_concurrency() / 2.0) {
        char text[96];
        std::snprintf(text, sizeof text, "the machine is busy (load %.1f on %u cores): times will vary", load,
                      std::thread::hardware_concurrency());
        notes.emplace_back(text);
    }
    return notes;
}

BenchSetup setupOf(const Options& options, const BenchDevice& bench) {
    BenchSetup setup;
    setup.commit = PCONV_COMMIT;
    setup.device = bench.info();
    setup.settings = bench.settings();
    setup.tables = options.tables;
    setup.filter = options.filter;
    setup.batch = batchOf(options, bench);
    setup.shrink = options.shrink;
    setup.cache_bytes = bench.cacheBytes();
    setup.notes = notesOf(bench);
    return setup;
}

void measureTable(BenchDevice& bench, BenchTable& table, int64_t batch) {
    ProgressBar progress("bench");
    std::size_t done = 0;
    for (RowResult& result : table.rows) {
        SeedRow row = result.row;
        if (batch > 0) row.batch = batch;
        result = row.is_network ? measureNetwork(bench, row) : measureLayer(bench, row);
        progress.update(static_cast<double>(++done) / static_cast<double>(table.rows.size()));
    }
}

int failures(const std::vector<BenchTable>& tables, const std::vector<HolesResult>& holes) {
    int count = 0;
    for (const BenchTable& table : tables)
        for (const RowResult& result : table.rows)
            if (result.fault.failed || result.plain_fault.failed) ++count;
    for (const HolesResult& row : holes)
        if (row.fault.failed) ++count;
    return count;
}

void run(const Options& options) {
    const Filter filter(options.filter);
    Plan plan = planOf(options, filter);
    if (options.list) return print(listText(plan, options, filter));
    BenchDevice bench(options.device, settingsOf(options));
    checkImplementation(bench);
    // Opened now: a name that cannot be written is told before the work.
    std::unique_ptr<AtomicFile> file;
    if (!options.json.empty()) file = openOutput(options.json);
    std::FILE* const screen = file && sharesStandardOutput(options.json) ? stderr : stdout;

    const BenchSetup setup = setupOf(options, bench);
    print(headerText(setup), screen);
    std::vector<RowResult> layers;
    for (BenchTable& table : plan.tables) {
        measureTable(bench, table, setup.batch);
        if (table.name == "2d" || table.name == "3d")
            layers.insert(layers.end(), table.rows.begin(), table.rows.end());
        if (std::find(plan.shown.begin(), plan.shown.end(), table.name) != plan.shown.end())
            print(tableText(table, setup.settings.budget), screen);
    }
    std::optional<DeviceLimits> limits;
    if (plan.limits) {
        limits = measureLimits(bench, options.shrink, layers);
        print(limitsText(layers, *limits), screen);
    }
    std::vector<HolesResult> holes;
    if (plan.holes) {
        {
            ProgressBar progress("bench");
            holes = measureHoles(bench, options.shrink, filter, [&](double done) { progress.update(done); });
        }
        print(holesText(holes), screen);
    }
    if (file) {
        const std::string text = benchJson(setup, plan.tables, limits, holes);
        file->write(text.data(), text.size());
        file->commit();
    }
    const int failed = failures(plan.tables, holes) + (limits && limits->fault.failed ? 1 : 0);
    if (failed > 0) throw CommandError(kExitFailure, std::to_string(failed) + " rows failed");
}

}  // namespace

void addBenchCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("bench", kAbout);
    command->footer(kMore);
    auto options = std::make_shared<Options>();
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    command
        ->add_option("--impl", options->implementation,
                     "One implementation, such as vulkan:gemm, instead of the library's choice")
        ->option_text("ROW");
    command
        ->add_option("--table", options->tables,
                     "2d, 3d, 2d-networks, 3d-networks, multi, limits, holes or all; several with commas")
        ->delimiter(',')
        ->check(CLI::IsMember({"2d", "3d", "2d-networks", "3d-networks", "multi", "limits", "holes", "all"}))
        ->option_text("TABLE");
    command->add_option("--filter", options->filter, "Rows whose name, such as 2d/No Mask, matches this")
        ->option_text("REGEX");
    command
        ->add_option(
            "--json", options->json,
            "Write every figure to a JSON file; to - the standard output, and the tables to the error output")
        ->option_text("FILE");
    command
        ->add_option("--batch", options->batch,
                     "The batch of every row, or published; by default published on GPUs, elsewhere 1")
        ->check(CLI::Validator(checkBatch, "", "batch"))
        ->option_text("N");
    command->add_option("--shrink", options->shrink, "Divide sizes and channels by this, for a quick look")
        ->check(CLI::Range(1, 64))
        ->option_text("K");
    command
        ->add_option("--rounds", options->rounds,
                     "Measure so many rounds, where not as many as --seconds allows")
        ->check(CLI::Range(1, 100000))
        ->option_text("N");
    command
        ->add_option(
            "--seconds", options->seconds,
            "Time to measure each row, 1 by default; slow devices take up to 30 times as long for five "
            "rounds")
        ->check(CLI::Range(0.001, 3600.0))
        ->option_text("S");
    command->add_flag("--backward", options->backward, "Layers: the forward and the backward pass together");
    command->add_option("--dtype", options->data_type, "The type of all tensors: f32, f16 or bf16")
        ->check(CLI::IsMember({"f32", "f16", "bf16"}))
        ->option_text("TYPE");
    addMathOption(*command, options->math);
    command->add_option("--layout", options->layout, "Of input and output: contiguous or channels_last")
        ->check(CLI::IsMember({"contiguous", "channels_last"}))
        ->option_text("LAYOUT");
    command->add_flag("--list", options->list, "List the rows instead of measuring them");
    command->callback([options, &action] { action = [options] { run(*options); }; });
}

}  // namespace pconv::app
