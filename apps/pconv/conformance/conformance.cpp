#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "argument_file.h"
#include "command.h"
#include "conformance/report.h"
#include "platform/dynamic_library.h"
#include "progress_bar.h"

namespace pconv::app {
namespace {

constexpr const char* kAbout = "Hold a device to the reference numerics, case by case.";

constexpr const char* kMore = R"(
Every case compares one operator call with a float64 computation, or with what the reference modules themselves
answered; the bound is each element's own (docs/semantics.md). Profiles:
  core    the forward pass in f32, 1-D and 2-D      volume  the same in 3-D
  train   the backward pass                         half    tensors in f16 and bf16
  masked  the masked convolution                    padding other than zeros, or uneven
What an implementation does not have is "not supported", never a pass. "worst" is the largest error as a part of its
bound: 1 is the most that passes. Exit codes: 0 nothing failed; 1 a case failed; 2 bad arguments or a bad report; 3
the device is not there.

Examples:
  pconv conformance --device vulkan
      all implementations of the Vulkan device
  pconv conformance --impl cpu:onednn --profile core
  pconv conformance --device cpu --impl cpu:onednn reference/nvidia2d_k3_random
      one case; a name that ends in * stands for all that begin so
  pconv conformance --device vulkan --report report.json
      a report to send in
  pconv conformance verify report.json
      check a report that was sent in)";

struct Options {
    std::string device;
    std::string implementation = "all";
    std::string profile = "all";
    std::string report;
    std::vector<std::string> cases;
    std::string cases_folder;
    bool list = false;
};

std::filesystem::path casesFolder(const Options& options) {
    namespace fs = std::filesystem;
    fs::path folder = options.cases_folder;
    if (folder.empty()) folder = fs::path(platform::executableFolder()) / ".." / "share" / "pconv" / "cases";
    std::error_code ignored;
    if (!fs::is_directory(folder, ignored))
        throw CommandError(kExitBadInput, "there are no reference cases in " + inQuotes(folder.string()) +
                                              "; say where they are with --cases");
    return folder;
}

bool matches(const std::string& pattern, const std::string& name) {
    if (!pattern.empty() && pattern.back() == '*')
        return name.compare(0, pattern.size() - 1, pattern, 0, pattern.size() - 1) == 0;
    return pattern == name;
}

std::vector<test::SuiteCase> chosenCases(const Options& options) {
    std::vector<test::SuiteCase> all = test::conformanceSuite(casesFolder(options));
    for (const std::string& pattern : options.cases)
        if (std::none_of(all.begin(), all.end(), [&](const auto& c) { return matches(pattern, c.name); }))
            throw CommandError(kExitBadInput,
                               "there is no case " + inQuotes(pattern) + "; --list shows them all");
    const auto unwanted = [&](const test::SuiteCase& c) {
        if (options.profile != "all" && c.profile != options.profile) return true;
        return !options.cases.empty() && std::none_of(options.cases.begin(), options.cases.end(),
                                                      [&](const auto& p) { return matches(p, c.name); });
    };
    all.erase(std::remove_if(all.begin(), all.end(), unwanted), all.end());
    if (all.empty()) throw CommandError(kExitBadInput, "no case is in profile " + inQuotes(options.profile));
    return all;
}

/// The number that pconvGetDeviceInfo gives a device.
int indexOf(const PconvDeviceInfo& wanted) {
    const std::vector<PconvDeviceInfo> all = pconv::devices();
    for (std::size_t i = 0; i < all.size(); ++i)
        if (std::strcmp(all[i].name, wanted.name) == 0 && std::strcmp(all[i].backend, wanted.backend) == 0 &&
            std::equal(std::begin(all[i].uuid), std::end(all[i].uuid), std::begin(wanted.uuid)))
            return static_cast<int>(i);
    throw CommandError(kExitDevice, "the device is no longer there");
}

std::vector<test::Row> chosenRows(const Device& device, const std::string& implementation) {
    const PconvDeviceInfo info = device.info();
    const int index = indexOf(info);
    std::vector<test::Row> rows;
    std::string names;
    for (const PconvImplementationInfo& row :
         device.implementations(PartialConvDesc::same(1, 1, 1, {4, 4}, 3))) {
        names += (names.empty() ? "" : ", ") + std::string(row.name);
        if (implementation != "all" && implementation != row.name) continue;
        rows.push_back({index, info.backend, row.name, info.type == PCONV_DEVICE_TYPE_SOFTWARE});
    }
    if (rows.empty())
        throw CommandError(kExitDevice, "no implementation " + inQuotes(implementation) +
                                            " on this device; it has " + names);
    return rows;
}

std::string worstText(double worst) {
    char text[32];
    std::snprintf(text, sizeof text, "%.3f", worst);
    return text;
}

std::string tableText(const Report& report) {
    char line[160];
    std::string text = std::string(report.device.name) + ", " + report.device.driver + "\n\n";
    std::snprintf(line, sizeof line, "%-18s %-8s %7s %7s %14s %7s  %s\n", "row", "profile", "passed",
                  "failed", "not supported", "worst", "");
    text += line;
    for (const ReportedRow& row : report.rows)
        for (const std::string& profile : test::kProfiles) {
            const Tally tally = tallyOf(row, profile);
            if (tally.passed + tally.failed + tally.not_supported == 0) continue;
            std::snprintf(line, sizeof line, "%-18s %-8s %7d %7d %14d %7s  %s\n", row.name.c_str(),
                          profile.c_str(), tally.passed, tally.failed, tally.not_supported,
                          tally.passed + tally.failed > 0 ? worstText(tally.worst).c_str() : "-",
                          tally.verdict().c_str());
            text += line;
        }
    for (const ReportedRow& row : report.rows)
        for (const ReportedCase& reported : row.cases)
            if (reported.result.outcome == test::CaseOutcome::failed)
                text += "FAILED " + row.name + " " + reported.name + ": " + reported.result.message + "\n";
    return text;
}

int failures(const Report& report) {
    int count = 0;
    for (const ReportedRow& row : report.rows)
        for (const std::string& profile : test::kProfiles) count += tallyOf(row, profile).failed;
    return count;
}

/// Ends the command with exit code 1 where a case failed.
void finish(const Report& report, std::FILE* stream) {
    print(tableText(report), stream);
    const int failed = failures(report);
    if (failed > 0) throw CommandError(kExitFailure, std::to_string(failed) + " cases failed");
}

void run(const Options& options) {
    const std::vector<test::SuiteCase> cases = chosenCases(options);
    if (options.list) {
        std::string text;
        for (const test::SuiteCase& c : cases) text += c.name + "  (" + c.profile + ")\n";
        return print(text);
    }
    const Device device(options.device);
    const std::vector<test::Row> rows = chosenRows(device, options.implementation);
    std::unique_ptr<AtomicFile> file;
    if (!options.report.empty()) file = openOutput(options.report);
    Report report;
    report.commit = PCONV_COMMIT;
    report.device = device.info();
    report.complete = options.profile == "all" && options.cases.empty();
    std::size_t done = 0;
    {
        ProgressBar progress("conformance");
        for (const test::Row& row : rows) {
            ReportedRow reported{row.name, {}};
            for (const test::SuiteCase& c : cases) {
                reported.cases.push_back({c.name, c.profile, c.tier, c.run(row)});
                progress.update(static_cast<double>(++done) /
                                static_cast<double>(rows.size() * cases.size()));
            }
            report.rows.push_back(std::move(reported));
        }
    }
    if (file) {
        const std::string text = reportText(report);
        file->write(text.data(), text.size());
        file->commit();
    }
    finish(report, file && sharesStandardOutput(options.report) ? stderr : stdout);
}

}  // namespace

void addConformanceCommand(CLI::App& app, Action& action) {
    CLI::App* command = app.add_subcommand("conformance", kAbout);
    command->footer(kMore);
    auto options = std::make_shared<Options>();
    command->add_option("-d,--device", options->device, kDeviceHelp)->option_text("DEVICE");
    command->add_option("--impl", options->implementation, "One implementation, such as vulkan:gemm, or all")
        ->option_text("ROW");
    std::vector<std::string> profiles = test::kProfiles;
    profiles.emplace_back("all");
    command->add_option("--profile", options->profile, "core, volume, train, half, masked, padding or all")
        ->check(CLI::IsMember(profiles))
        ->option_text("PROFILE");
    command
        ->add_option("--report", options->report,
                     "Write a JSON report; to - the standard output, and the table to the error output")
        ->option_text("FILE");
    command->add_option("--cases", options->cases_folder, "The folder of the reference cases")
        ->option_text("FOLDER");
    command->add_flag("--list", options->list, "List the cases instead of running them");
    command->add_option("CASE", options->cases, "Cases to run, where not all");
    command->callback([options, &action, command] {
        if (command->get_subcommands().empty()) action = [options] { run(*options); };
    });

    CLI::App* verify = command->add_subcommand("verify", "Check a report that was sent in");
    auto file = std::make_shared<std::string>();
    verify->add_option("FILE", *file, "The report; - is the standard input")->required();
    verify->callback([file, options, &action] {
        action = [file, options] {
            finish(readReport(*file, test::conformanceSuite(casesFolder(*options))), stdout);
        };
    });
}

}  // namespace pconv::app
