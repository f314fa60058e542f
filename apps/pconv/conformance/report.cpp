#include "conformance/report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "argument_file.h"

namespace pconv::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "pconv-conformance-1";
constexpr int kDeepest = 8;
constexpr std::size_t kLargestReport = 64 << 20;

const char* outcomeName(test::CaseOutcome outcome) {
    switch (outcome) {
        case test::CaseOutcome::passed:
            return "passed";
        case test::CaseOutcome::failed:
            return "failed";
        case test::CaseOutcome::not_supported:
            break;
    }
    return "not supported";
}

/// A report from a stranger, field by field.
class ReportReader {
  public:
    explicit ReportReader(const std::string& argument) : name_(nameOfInput(argument)) {
        InputFile file = openInput(argument);
        std::vector<std::uint8_t> text;
        file.appendRest(text, kLargestReport);
        parse({text.begin(), text.end()});
    }

    [[noreturn]] void fail(const std::string& line) const { throw FileError(name_ + ": " + line); }

    const nlohmann::json& all() const { return all_; }

    template <typename T>
    T field(const nlohmann::json& object, const char* key) const {
        const auto found = object.is_object() ? object.find(key) : object.end();
        if (!object.is_object() || found == object.end())
            fail("has no " + inQuotes(key) + " where one is expected");
        try {
            return found->get<T>();
        } catch (const nlohmann::json::exception&) {
            fail(inQuotes(key) + " has the wrong type");
        }
    }

    const nlohmann::json& list(const nlohmann::json& object, const char* key) const {
        const auto found = object.is_object() ? object.find(key) : object.end();
        if (!object.is_object() || found == object.end() || !found->is_array())
            fail("has no list " + inQuotes(key) + " where one is expected");
        return *found;
    }

  private:
    void parse(const std::string& text) {
        std::vector<std::set<std::string>> keys;
        std::string fault;
        const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
            using Event = nlohmann::json::parse_event_t;
            if (depth > kDeepest) fault = "is nested too deeply";
            if (event == Event::object_start) keys.emplace_back();
            if (event == Event::object_end && !keys.empty()) keys.pop_back();
            if (event == Event::key && !keys.empty() && !keys.back().insert(value.get<std::string>()).second)
                fault = "has the key " + inQuotes(value.get<std::string>()) + " twice";
            return fault.empty();
        };
        all_ = nlohmann::json::parse(text, watch, false);
        if (!fault.empty()) fail(fault);
        if (all_.is_discarded()) fail("is not JSON");
    }

    std::string name_;
    nlohmann::json all_;
};

test::CaseResult readResult(const ReportReader& reader, const nlohmann::json& object) {
    test::CaseResult result;
    const auto outcome = reader.field<std::string>(object, "result");
    if (outcome == outcomeName(test::CaseOutcome::failed))
        result.outcome = test::CaseOutcome::failed;
    else if (outcome == outcomeName(test::CaseOutcome::not_supported))
        result.outcome = test::CaseOutcome::not_supported;
    else if (outcome != outcomeName(test::CaseOutcome::passed))
        reader.fail("result is " + inQuotes(outcome) + "; expected passed, failed or not supported");
    result.message = reader.field<std::string>(object, "message");
    if (object.at("worst").is_null())  // JSON has no infinity
        result.worst = std::numeric_limits<double>::infinity();
    else
        result.worst = reader.field<double>(object, "worst");
    if (result.outcome == test::CaseOutcome::passed && !(result.worst >= 0 && result.worst <= 1))
        reader.fail("a case is said to have passed with an error beyond its bound");
    return result;
}

ReportedRow readRow(const ReportReader& reader, const nlohmann::json& object,
                    const std::vector<test::SuiteCase>& suite) {
    ReportedRow row;
    row.name = reader.field<std::string>(object, "name");
    const nlohmann::json& cases = reader.list(object, "cases");
    if (cases.size() != suite.size())
        reader.fail(row.name + " has " + std::to_string(cases.size()) + " cases; expected " +
                    std::to_string(suite.size()) + ", all of the suite");
    for (std::size_t i = 0; i < suite.size(); ++i) {
        const auto name = reader.field<std::string>(cases[i], "name");
        if (name != suite[i].name)
            reader.fail(row.name + " has the case " + inQuotes(name) + "; expected " +
                        inQuotes(suite[i].name));
        if (!cases[i].contains("worst")) reader.fail("has no 'worst' where one is expected");
        row.cases.push_back({name, suite[i].profile, suite[i].tier, readResult(reader, cases[i])});
    }
    const auto stated = reader.field<nlohmann::json>(object, "profiles");
    for (const std::string& profile : test::kProfiles)
        if (reader.field<std::string>(stated, profile.c_str()) != tallyOf(row, profile).verdict())
            reader.fail(row.name + " claims another result for " + profile + " than its cases have");
    return row;
}

}  // namespace

std::string Tally::verdict() const {
    if (passed + failed + not_supported == 0) return "not run";
    if (failed > 0) return "failed";
    if (passed == 0) return "not supported";
    return not_supported == 0 ? "passed" : "in part";
}

Tally tallyOf(const ReportedRow& row, const std::string& profile) {
    Tally tally;
    for (const ReportedCase& reported : row.cases) {
        if (reported.profile != profile) continue;
        switch (reported.result.outcome) {
            case test::CaseOutcome::passed:
                ++tally.passed;
                tally.worst = std::max(tally.worst, reported.result.worst);
                break;
            case test::CaseOutcome::failed:
                ++tally.failed;
                tally.worst = std::max(tally.worst, reported.result.worst);
                break;
            case test::CaseOutcome::not_supported:
                ++tally.not_supported;
                break;
        }
    }
    return tally;
}

std::string reportText(const Report& report) {
    Json rows = Json::array();
    for (const ReportedRow& row : report.rows) {
        Json profiles = Json::object();
        for (const std::string& profile : test::kProfiles)
            profiles[profile] = tallyOf(row, profile).verdict();
        Json cases = Json::array();
        for (const ReportedCase& reported : row.cases) {
            const double worst = reported.result.worst;
            cases.push_back({{"name", reported.name},
                             {"tier", reported.tier},
                             {"result", outcomeName(reported.result.outcome)},
                             {"worst", std::isfinite(worst) ? Json(worst) : Json(nullptr)},
                             {"message", reported.result.message}});
        }
        rows.push_back({{"name", row.name}, {"profiles", std::move(profiles)}, {"cases", std::move(cases)}});
    }
    int major = 0;
    int minor = 0;
    int patch = 0;
    pconvGetVersion(&major, &minor, &patch);
    const Json all = {
        {"format", kFormat},
        {"version", std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch)},
        {"commit", report.commit},
        {"complete", report.complete},
        {"device",
         {{"name", report.device.name},
          {"backend", report.device.backend},
          {"driver", report.device.driver},
          {"features", report.device.features}}},
        {"rows", std::move(rows)}};
    return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Report readReport(const std::string& argument, const std::vector<test::SuiteCase>& suite) {
    const ReportReader reader(argument);
    const nlohmann::json& all = reader.all();
    if (reader.field<std::string>(all, "format") != kFormat)
        reader.fail("is not a report of this version; expected the format " + inQuotes(kFormat));
    if (!reader.field<bool>(all, "complete")) reader.fail("is of a part of the suite; expected all of it");
    Report report;
    report.complete = true;
    report.commit = reader.field<std::string>(all, "commit");
    const auto device = reader.field<nlohmann::json>(all, "device");
    const auto copy = [&](auto& to, const char* key) {
        const auto text = reader.field<std::string>(device, key);
        text.copy(to, sizeof to - 1);
    };
    copy(report.device.name, "name");
    copy(report.device.backend, "backend");
    copy(report.device.driver, "driver");
    copy(report.device.features, "features");
    const nlohmann::json& rows = reader.list(all, "rows");
    if (rows.empty()) reader.fail("has no rows");
    for (const nlohmann::json& row : rows) report.rows.push_back(readRow(reader, row, suite));
    return report;
}

}  // namespace pconv::app
