#include "bench/report.h"

#include <algorithm>
#include <cstdio>

#include "text_table.h"

namespace pconv::app {
namespace {

constexpr double kMilli = 1e3;
constexpr double kMebi = 1 << 20;

std::string number(double value, int digits) {
    char text[64];
    std::snprintf(text, sizeof text, "%.*f", digits, value);
    return text;
}

std::string number(const std::optional<double>& value, int digits) {
    return value ? number(*value, digits) : "-";
}

/// Three digits that count.
std::string milliseconds(double seconds) {
    const double ms = seconds * kMilli;
    return number(ms, ms >= 100 ? 0 : ms >= 10 ? 1 : ms >= 1 ? 2 : 3);
}

std::string milliseconds(const Timing& timing) {
    return timing.empty() ? "-" : milliseconds(timing.median());
}

std::string spread(const Timing& timing) {
    return milliseconds(timing.low()) + "-" + milliseconds(timing.high());
}

std::string published(const SeedRow& row, double PublishedTimes::*which) {
    return row.published ? number(*row.published.*which, row.is_network ? 1 : 2) : "-";
}

std::string meansLine(const std::vector<RowResult>& rows,
                      const std::vector<std::pair<const char*, RatioOf>>& ratios) {
    std::string text;
    for (const auto& [name, ratio] : ratios)
        if (const std::optional<double> mean = meanOf(rows, ratio))
            text += (text.empty() ? "" : ", ") + std::string(name) + " " + number(*mean, 2);
    return text.empty() ? "" : "geometric means: " + text + "\n";
}

/// What a row's figures lack, a line each.
std::string remarks(const BenchTable& table, const TimeBudget& budget) {
    std::string text;
    for (const RowResult& result : table.rows) {
        if (result.plain_fault)
            text += result.row.name + ": no plain convolution: " + result.plain_fault.line + "\n";
        const std::size_t rounds = result.each_mask.rounds.size();
        if (budget.rounds == 0 && rounds > 0 && rounds < kLeastRounds)
            text += result.row.name + ": only " + std::to_string(rounds) + " rounds\n";
    }
    return text;
}

bool anyPublished(const BenchTable& table) {
    return std::any_of(table.rows.begin(), table.rows.end(),
                       [](const RowResult& result) { return result.row.published.has_value(); });
}

std::string layersText(const BenchTable& table, bool with_published, const TimeBudget& budget) {
    std::vector<std::string> head = {"row",    "shape",        "ms",      "p10-p90", "reused", "plain",
                                     "/plain", "reused/plain", "GFLOP/s", "MiB",     "/ideal", "by"};
    if (with_published) head.insert(head.end(), {"NVIDIA*", "lyehe*"});
    TextTable text(head, {"row", "shape", "by"});
    for (const RowResult& result : table.rows) {
        if (result.fault) {
            text.addNote({result.row.name, result.row.shapeText()}, result.fault.line);
            continue;
        }
        const Footprint& footprint = result.footprint;
        std::vector<std::string> cells = {result.row.name,
                                          result.row.shapeText(),
                                          milliseconds(result.each_mask),
                                          spread(result.each_mask),
                                          milliseconds(result.reused),
                                          milliseconds(result.plain),
                                          number(overPlain(result), 2),
                                          number(reusedOverPlain(result), 2),
                                          number(footprint.operations / result.each_mask.median() / 1e9, 0),
                                          number(static_cast<double>(footprint.peak_bytes) / kMebi, 1),
                                          number(peakOverIdeal(result), 2),
                                          result.implementation};
        if (with_published) {
            cells.push_back(published(result.row, &PublishedTimes::nvidia_ms));
            cells.push_back(published(result.row, &PublishedTimes::optimized_ms));
        }
        text.add(cells);
    }
    return text.text() + remarks(table, budget) +
           meansLine(table.rows, {{"/plain", overPlain}, {"reused/plain", reusedOverPlain}});
}

std::string networksText(const BenchTable& table, const TimeBudget& budget) {
    TextTable text({"row", "shape", "ms", "p10-p90", "same mask", "plain", "/plain", "by layer", "/network",
                    "MiB", "/ideal", "by", "NVIDIA*", "lyehe*"},
                   {"row", "shape", "by"});
    for (const RowResult& result : table.rows) {
        if (result.fault) {
            text.addNote({result.row.name, result.row.shapeText()}, result.fault.line);
            continue;
        }
        text.add({result.row.name, result.row.shapeText(), milliseconds(result.each_mask),
                  spread(result.each_mask), milliseconds(result.reused), milliseconds(result.plain),
                  number(overPlain(result), 2), milliseconds(result.layer_by_layer),
                  number(layersOverNetwork(result), 2),
                  number(static_cast<double>(result.footprint.peak_bytes) / kMebi, 1),
                  number(peakOverIdeal(result), 2), result.implementation,
                  published(result.row, &PublishedTimes::nvidia_ms),
                  published(result.row, &PublishedTimes::optimized_ms)});
    }
    return text.text() + remarks(table, budget) +
           meansLine(table.rows, {{"/plain", overPlain}, {"layer by layer / network", layersOverNetwork}});
}

std::string titleOf(const std::string& table) {
    if (table == "2d") return "2-D layers";
    if (table == "3d") return "3-D layers";
    if (table == "2d-networks") return "2-D networks";
    if (table == "3d-networks") return "3-D networks";
    return "A mask for every channel";
}

const char* typeText(PconvDataType type) {
    return type == PCONV_DATA_TYPE_F16 ? "f16" : type == PCONV_DATA_TYPE_BF16 ? "bf16" : "f32";
}

}  // namespace

std::optional<double> overPlain(const RowResult& result) {
    if (result.each_mask.empty() || result.plain.empty()) return std::nullopt;
    return result.each_mask.median() / result.plain.median();
}

std::optional<double> reusedOverPlain(const RowResult& result) {
    if (result.reused.empty() || result.plain.empty()) return std::nullopt;
    return result.reused.median() / result.plain.median();
}

std::optional<double> layersOverNetwork(const RowResult& result) {
    if (result.each_mask.empty() || result.layer_by_layer.empty()) return std::nullopt;
    return result.layer_by_layer.median() / result.each_mask.median();
}

std::optional<double> peakOverIdeal(const RowResult& result) {
    if (result.footprint.peak_bytes == 0) return std::nullopt;
    return static_cast<double>(result.footprint.peak_bytes) /
           static_cast<double>(result.footprint.idealBytes());
}

std::optional<double> meanOf(const std::vector<RowResult>& rows, const RatioOf& ratio) {
    std::vector<double> values;
    for (const RowResult& row : rows)
        if (const std::optional<double> value = ratio(row)) values.push_back(*value);
    if (values.empty()) return std::nullopt;
    return geometricMean(values);
}

std::string headerText(const BenchSetup& setup) {
    const BenchSettings& settings = setup.settings;
    std::string text = std::string(setup.device.name) + " (" + setup.device.backend + ", " +
                       setup.device.driver + "), commit " + setup.commit + "\n";
    text += std::string(typeText(settings.data_type)) +
            (settings.math == PCONV_MATH_FAST ? ", fast math" : ", exact math") +
            (settings.layout == PCONV_LAYOUT_CHANNELS_LAST ? ", channels last" : ", contiguous") +
            (settings.backward ? ", forward and backward" : ", forward") + ", batch " +
            (setup.batch > 0 ? std::to_string(setup.batch) : "as published") +
            (setup.shrink > 1 ? ", shrunk by " + std::to_string(setup.shrink) : "") +
            "; tensors rotate over twice " + number(static_cast<double>(setup.cache_bytes) / kMebi, 0) +
            " MiB of cache\n";
    for (const std::string& note : setup.notes) text += "note: " + note + "\n";
    return text;
}

std::string tableText(const BenchTable& table, const TimeBudget& budget) {
    const bool networks = !table.rows.empty() && table.rows[0].row.is_network;
    const bool with_published = anyPublished(table);
    std::string text = "\n" + titleOf(table.name) + "\n";
    text += networks ? networksText(table, budget) : layersText(table, with_published, budget);
    if (with_published)
        text +=
            "* published by others: ms of NVIDIA/partialconv and lyehe/pconv on an RTX 3090 Ti with PyTorch "
            "and TF32, full batch\n";
    return text;
}

std::string limitsText(const std::vector<RowResult>& rows, const DeviceLimits& limits) {
    std::string text = "\nLimits\n";
    if (limits.fault) return text + limits.fault.line + "\n";
    text += "copies move " + number(limits.bytes_per_second / 1e9, 1) +
            " GB/s; the fastest plain convolution of this run, " + limits.fastest + ", computes " +
            number(limits.operations_per_second / 1e9, 0) + " GFLOP/s\n";
    TextTable table({"row", "shape", "MB", "GFLOP", "floor ms", "bound by", "ms", "/floor", "plain/floor"},
                    {"row", "shape", "bound by"});
    std::vector<double> ours;
    std::vector<double> plain;
    for (const RowResult& result : rows) {
        const Footprint& footprint = result.footprint;
        if (result.fault) {
            table.addNote({result.row.id(), result.row.shapeText()}, result.fault.line);
            continue;
        }
        const double floor = limits.floorSeconds(footprint);
        const auto bytes = static_cast<double>(footprint.idealBytes());
        const bool by_bytes = bytes / limits.bytes_per_second >= floor;
        ours.push_back(result.each_mask.median() / floor);
        if (!result.plain.empty()) plain.push_back(result.plain.median() / floor);
        table.add({result.row.id(), result.row.shapeText(), number(bytes / 1e6, 1),
                   number(footprint.operations / 1e9, 2), milliseconds(floor),
                   by_bytes ? "bytes" : "products", milliseconds(result.each_mask), number(ours.back(), 2),
                   result.plain.empty() ? "-" : number(plain.back(), 2)});
    }
    text += table.text();
    if (!ours.empty()) text += "geometric means: /floor " + number(geometricMean(ours), 2);
    if (!plain.empty()) text += ", plain/floor " + number(geometricMean(plain), 2);
    return text + (ours.empty() ? "" : "\n");
}

std::string holesText(const std::vector<HolesResult>& rows) {
    TextTable table(
        {"layer", "holes", "%", "ms", "p10-p90", "/no holes", "hole tiles %", "valid tiles %", "by"},
        {"layer", "holes", "by"});
    for (const HolesResult& row : rows) {
        if (row.fault) {
            table.addNote({row.layer, row.pattern, std::to_string(row.percent)}, row.fault.line);
            continue;
        }
        table.add({row.layer, row.pattern, std::to_string(row.percent), milliseconds(row.timing),
                   spread(row.timing), number(row.over_no_holes, 2), number(row.hole_tiles * 100, 1),
                   number(row.valid_tiles * 100, 1), row.implementation});
    }
    return "\nHoles\n" + table.text() +
           "hole tiles: 16x16 tiles of the output whose updated mask is 0 everywhere; valid tiles: those "
           "whose "
           "windows meet no hole\n";
}

}  // namespace pconv::app
